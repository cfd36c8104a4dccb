#!/usr/bin/env python3
"""Writes the hashes of images that Pillow resized, `../fixtures/preprocess/resize.csv`.

    pip install pillow && python resize.py
"""
import hashlib
import random
from pathlib import Path

import PIL
from PIL import Image

# Around the place where the order of the passes changes, and far from it.
SIZES = [
    (320, 640, 256, 512), (320, 685, 256, 548), (500, 1000, 256, 512), (500, 1100, 256, 563),
    (640, 1400, 256, 560), (300, 600, 200, 400), (300, 601, 200, 400), (300, 599, 200, 400),
    (100, 300, 150, 299), (100, 300, 150, 301), (100, 300, 100, 150), (100, 300, 50, 300),
    (100, 300, 101, 299), (100, 300, 99, 298), (100, 300, 99, 297), (40, 900, 24, 540),
    (900, 40, 540, 24), (7, 5, 224, 160), (5, 7, 224, 314), (1, 1, 9, 9), (1, 90, 3, 17), (90, 1, 17, 3),
    (640, 427, 383, 256), (427, 640, 256, 383), (224, 224, 224, 224), (256, 256, 224, 256),
    (256, 256, 256, 224), (33, 77, 33, 21), (33, 77, 21, 77), (2, 400, 1, 399), (3, 3, 1, 1),
]


def pixels(width, height):
    """Bytes of a linear congruential generator, which the test has, too."""
    state, values = width * 65536 + height, bytearray()
    for _ in range(width * height * 3):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 24)
    return bytes(values)


def main():
    draw = random.Random(0)
    sizes = SIZES + [tuple(draw.randint(1, most) for most in (200, 300, 120, 150)) for _ in range(60)]
    lines = [f"# Pillow {PIL.__version__}"]
    for width, height, *size in sizes:
        image = Image.frombytes("RGB", (width, height), pixels(width, height))
        for name, method in [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)]:
            resized = image.resize(size, method).tobytes()
            digest = hashlib.sha256(resized).hexdigest()[:16]
            lines.append(f"{width},{height},{size[0]},{size[1]},{name},{digest}")
    (Path(__file__).parent / "../fixtures/preprocess/resize.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
