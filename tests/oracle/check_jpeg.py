#!/usr/bin/env python3
"""Compares JPEGs of every kind with PIL, pixel for pixel.

    check_jpeg.py FOLDER [PHOTOGRAPHS]   writes JPEGs into a new folder, with those of another one, and has
                                         the test compare them with what PIL makes of them
    check_jpeg.py --fixtures             writes the few that the ordinary test run compares

Needs `pip install numpy pillow` and `cjpeg` (libjpeg-turbo-progs). Where PIL refuses a file, so must we.
"""
import hashlib
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageDraw, ImageOps

HERE = Path(__file__).parent
SAMPLINGS = ["1x1", "2x1", "2x2", "1x2", "4x1", "1x4", "4x2", "2x4", "3x1", "3x2", "2x2,1x2,2x1", "2x1,1x1,2x1",
             "1x1,2x1,1x1", "4x1,2x1,1x1", "2x1,2x1,2x1"]
SIZES = [(1, 1), (2, 2), (3, 1), (1, 3), (2, 3), (4, 5), (7, 9), (8, 8), (15, 17), (16, 16), (17, 16), (33, 31),
         (47, 50), (67, 53), (130, 20), (40, 90)]
QUALITIES = [5, 10, 25, 50, 75, 85, 92, 95, 100]
MODES = [[], ["-progressive"], ["-optimize"], ["-restart", "1"], ["-restart", "1B"],
         ["-progressive", "-restart", "1"], ["-restart", "3B", "-optimize"]]
SCANS = {
    "single": "0;1;2;", "reversed": "2;1;0;", "pair": "0;1 2;",
    "late": "0 1 2: 0-0,0,0; 0: 1-63,0,0; 2: 1-63,0,0; 1: 1-63,0,0;",
    "deep": "0,1,2: 0-0,0,2; 0,1,2: 0-0,2,1; 0,1,2: 0-0,1,0; 0: 1-63,0,3; 0: 1-63,3,2; 0: 1-63,2,1;"
            "0: 1-63,1,0; 1: 1-5,0,1; 2: 1-5,0,1; 1: 6-63,0,0; 2: 6-63,0,0; 1: 1-5,1,0; 2: 1-5,1,0;",
    "apart": "0: 0-0,0,1; 1: 0-0,0,0; 2: 0-0,0,0; 0: 0-0,1,0; 0: 1-9,0,2; 0: 10-63,0,2; 0: 1-63,2,1;"
             "0: 1-63,1,0; 1: 1-63,0,0; 2: 1-63,0,0;",
}


def picture(width, height, draw):
    """Slopes, edges and a little noise."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((x * draw.uniform(-1, 1) + y * draw.uniform(-1, 1)) / draw.uniform(2, 20)) for _ in range(3)]
    noise = np.random.default_rng(draw.randrange(2**32)).normal(0, 8, (height, width, 3))
    pixels = 128 + 100 * np.stack(waves, -1) + noise
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    corners = [draw.randrange(side) for side in (width, height)] + [width, height]
    ImageDraw.Draw(image).ellipse(corners, fill=tuple(draw.randrange(256) for _ in range(3)))
    return image


def cjpeg(image, *options):
    with tempfile.NamedTemporaryFile(suffix=".ppm") as file:
        image.save(file.name)
        return subprocess.run(["cjpeg", *options, file.name], stdout=subprocess.PIPE, check=True).stdout


def with_scans(image, name, *options):
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(SCANS[name])
        file.flush()
        return cjpeg(image, "-scans", file.name, *options)


def segments(jpeg):
    """The start, each segment with the scan behind it, and the end."""
    parts, start = [jpeg[:2]], 2
    while jpeg[start + 1] != 0xD9:
        end = start + 2 + int.from_bytes(jpeg[start + 2:start + 4], "big")
        if jpeg[start + 1] == 0xDA:
            while jpeg[end] != 0xFF or jpeg[end + 1] in (0, *range(0xD0, 0xD8)):
                end += 1
        parts.append(jpeg[start:end])
        start = end
    return parts + [jpeg[start:]]


def changed(parts, marker, change):
    return b"".join(change(part) if part[1] == marker else part for part in parts)


def with_bytes(part, changes):
    part = bytearray(part)
    for place, value in changes.items():
        part[place] = value
    return bytes(part)


def words(part):
    """A segment of tables of factors with 16 bits for each."""
    tables = b""
    for start in range(4, len(part), 65):
        table = part[start:start + 65]
        tables += bytes([0x10 | table[0]]) + b"".join(bytes([0, value]) for value in table[1:])
    return b"\xff\xdb" + (len(tables) + 2).to_bytes(2, "big") + tables


def rewritten(image, sampling, draw):
    """The same picture, its file written in unusual and in damaged ways."""
    parts = segments(cjpeg(image, "-sample", sampling))
    bare = [part for part in parts if part[1] != 0xE0]
    yield "filled", parts[0] + b"".join(b"\xff" * draw.randrange(4) + part for part in parts[1:])
    yield "junk", b"".join(parts[:2]) + b"".join(b"junk"[:draw.randrange(5)] + part for part in parts[2:])
    yield "tail", b"".join(parts) + b"more \xff\xd8\xff"
    yield "extended", changed(parts, 0xC0, lambda part: b"\xff\xc1" + part[2:])
    yield "words", changed(parts, 0xDB, words)
    yield "film", b"".join(part for part in parts if part[1] != 0xC4)
    yield "bare", b"".join(bare)
    for ids in [b"RGB", b"\0\1\2", b"\1\1\1"]:
        for name, kept in [("jfif", parts), ("bare", bare)]:
            frame = changed(kept, 0xC0, lambda part: with_bytes(part, {10: ids[0], 13: ids[1], 16: ids[2]}))
            yield f"ids_{ids.hex()}_{name}", changed(
                segments(frame), 0xDA, lambda part: with_bytes(part, {5: ids[0], 7: ids[1], 9: ids[2]}))
    for transform in range(3):
        adobe = b"\xff\xee\0\x0eAdobe\0d\0\0\0\0" + bytes([transform])
        yield f"adobe{transform}", bare[0] + adobe + b"".join(bare[1:])
        yield f"adobe{transform}_jfif", parts[0] + adobe + b"".join(parts[1:])
    restarts = cjpeg(image, "-sample", sampling, "-restart", "1B")
    marks = [place for place in range(len(restarts) - 1)
             if restarts[place] == 0xFF and restarts[place + 1] in range(0xD0, 0xD8)]
    for mark in draw.sample(marks, min(3, len(marks))):
        yield f"restart_gone{mark}", restarts[:mark] + restarts[mark + 2:]
        yield f"restart_twice{mark}", restarts[:mark] + restarts[mark:mark + 2] + restarts[mark:]
        yield f"restart_other{mark}", with_bytes(restarts, {mark + 1: 0xD0 + draw.randrange(8)})
    for name in SCANS:
        jpeg = with_scans(image, name, "-sample", sampling, *draw.choice(MODES[3:5] + [[]]))
        yield f"scans_{name}", jpeg
        parts = segments(jpeg)
        for place in [place for place, part in enumerate(parts) if part[1] == 0xDA][1:]:
            before, scan = b"".join(parts[:place]), parts[place]
            yield f"scans_{name}_without{place}", before + b"\xff\xd9"
            yield f"scans_{name}_half{place}", before + scan[:len(scan) // 2] + b"\0\xff\xd9"


def saved(image, **options):
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        image.save(file.name, **options)
        return Path(file.name).read_bytes()


def every_kind():
    draw = random.Random(0)
    for size, sampling in itertools.product(SIZES, SAMPLINGS):
        for quality, mode in zip(draw.sample(QUALITIES, 3), draw.sample(MODES, 3)):
            name = "_".join(["cjpeg", "%dx%d" % size, sampling, str(quality), *mode])
            yield name, cjpeg(picture(*size, draw), "-quality", str(quality), "-sample", sampling, *mode)
    for size, quality, progressive in itertools.product(SIZES, [5, 75, 100], [False, True]):
        image = picture(*size, draw)
        name, options = "%dx%d_%d_%d" % (*size, quality, progressive), dict(quality=quality, progressive=progressive)
        yield f"grey_{name}", saved(image.convert("L"), **options)
        yield f"rgb_{name}", saved(image, keep_rgb=True, **options)
        cmyk = saved(image.convert("CMYK"), **options)
        for transform in range(3):
            yield f"cmyk{transform}_{name}", changed(
                segments(cmyk), 0xEE, lambda part: part[:-1] + bytes([transform]))
        yield f"inks_{name}", b"".join(part for part in segments(cmyk) if part[1] != 0xEE)
    for size, sampling in itertools.product([(67, 53), (16, 16), (40, 90), (130, 20)], SAMPLINGS[:4]):
        for name, jpeg in rewritten(picture(*size, draw), sampling, draw):
            yield f"{name}_%dx%d_{sampling}" % size, jpeg


def fixtures():
    draw = random.Random(1)
    for size, sampling, *mode in [
        ((21, 19), "1x1"), ((21, 19), "2x1"), ((21, 19), "2x2"), ((21, 19), "1x2"), ((21, 19), "4x1"), ((2, 35), "2x2"),
        ((5, 3), "2x1"), ((21, 19), "2x2,1x2,2x1"), ((35, 19), "2x2", "-progressive"),
        ((21, 35), "2x1", "-progressive", "-restart", "1B"), ((35, 19), "2x2", "-restart", "1B"),
        ((1, 1), "2x2"), ((19, 21), "2x2", "-quality", "5"), ((19, 21), "2x2", "-quality", "100"),
    ]:
        name = "_".join(["%dx%d" % size, sampling, *mode])
        yield name, cjpeg(picture(*size, draw), "-sample", sampling, "-optimize", *mode)
    image = picture(21, 19, draw)
    yield "grey", saved(image.convert("L"))
    yield "rgb", saved(image, keep_rgb=True)
    cmyk = saved(image.convert("CMYK"), optimize=True)
    yield "cmyk", cmyk
    yield "ycck", changed(segments(cmyk), 0xEE, lambda part: part[:-1] + b"\2")
    wanted = {"filled", "words", "film", "ids_524742_bare", "scans_single", "scans_deep", "scans_deep_without9",
              "scans_apart_half12", "scans_late_without7"}
    for name, jpeg in rewritten(picture(35, 27, draw), "2x2", draw):
        if name in wanted or name.startswith("restart"):
            yield name, jpeg


def pixels(path):
    """Size and hash of what PIL makes of a file, or that it refuses it."""
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image).convert("RGB")
    except Exception:
        return "refused"
    return "%d,%d,%s" % (*image.size, hashlib.sha256(image.tobytes()).hexdigest())


def write(folder, jpegs, photographs=()):
    folder.mkdir(parents=True, exist_ok=True)
    for name, jpeg in jpegs:
        (folder / f"{name.replace(',', '+').replace('_-', '_')}.jpg").write_bytes(jpeg)
    for photograph in photographs:
        shutil.copy(photograph, folder)
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    lines = [f"# Pillow {PIL.__version__}"] + [f"{path.name},{pixels(path)}" for path in images]
    (folder / "pixels.csv").write_text("\n".join(lines) + "\n")
    print(len(images), "images in", folder)


def main():
    if sys.argv[1:] == ["--fixtures"]:
        return write(HERE / "../fixtures/jpeg", fixtures())
    folder = Path(sys.argv[1]).resolve()
    photographs = [path for other in sys.argv[2:] for path in Path(other).iterdir()]
    write(folder, every_kind(), photographs)
    command = ["cargo", "test", "-p", "zoo-tests", "--test", "preprocess", "jpegs_are_pils", "--", "--nocapture"]
    raise SystemExit(subprocess.run(command, cwd=HERE, env={**os.environ, "ZOO_JPEGS": str(folder)}).returncode)


if __name__ == "__main__":
    main()
