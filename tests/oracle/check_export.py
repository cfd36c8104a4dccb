#!/usr/bin/env python3
"""Reads what `zoo export` writes with the programs that it is written for.

    check_export.py --zoo target/debug/zoo [NAME[@SIZE] ...]

For each variant the oracle's checkpoint goes through `zoo import` and `zoo export` and must
come back with the same keys, types, shapes and bits, load strictly into a network of PyTorch,
and give `zoo forward`'s logits in ONNX Runtime for several numbers of images, within 1e-4 of
the largest. Exits with 1 and says which variants failed and how.
"""
import argparse
import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import oracle
import torch
from safetensors import safe_open
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file

# One that averages with a fully connected layer, with 1x1 convolutions, clamps, a squeeze,
# TensorFlow's padding, a shortcut filled with zeros, upsampling of both kinds.
VARIANTS = ["lenet5", "resnet18", "resnet20_cifar", "resnext50_32x4d", "squeezenet1_0",
            "squeezenet1_1", "mobilenet_v2", "efficientnet_b0", "efficientnet_lite0_timm",
            "unet", "unet@76", "unet_bilinear", "googlenet", "densenet121",
            "mobilenet_v1_0_25", "mobilenet_v3_small", "mnasnet0_5", "shufflenet_v1_g3",
            "shufflenet_v2_x0_5", "ghostnet_050", "inception_v2", "inception_v3", "xception",
            "se_resnet18", "nasnet_a_mobile", "wrn_16_4", "ae_cnn_r64x3_m_d12x4_m_r128x3"]
OPSETS = [11, 13, 15, 18, 21]


class Failure(Exception):
    pass


def require(holds, what):
    if not holds:
        raise Failure(what)


def same_bits(expected, found, where):
    require(list(sorted(expected)) == list(sorted(found)),
            f"{where}: keys differ: {sorted(set(expected) ^ set(found))[:6]}")
    for key, value in expected.items():
        other = found[key]
        require(value.dtype == other.dtype and value.shape == other.shape,
                f"{where}: {key} is {other.dtype} {list(other.shape)}")
        require(torch.equal(value.reshape(-1).view(torch.uint8),
                            other.reshape(-1).view(torch.uint8)), f"{where}: {key} has other bits")


def check(spec, run, folder):
    entry, size = oracle.lookup(spec)
    network = oracle.build(entry)
    oracle.condition(entry, size, network)
    state = network.state_dict()
    norms = set(oracle.bn_layers(network))
    oracle._save(str(folder / "in.pth"), state)
    run("import", "in.pth", "--model", entry.name, "-o", "record.bpk")

    fresh = oracle.build(entry)
    for target, name in [("safetensors", "out.safetensors"), ("pth-keys", "out.pth")]:
        run("export", "record.bpk", "--to", target, "-o", name)
        run("export", "record.bpk", "--to", target, "-o", "half_" + name, "--half")
        read = load_file if target == "safetensors" else lambda path: torch.load(
            path, weights_only=True, mmap=True)
        exported, half = read(folder / name), read(folder / ("half_" + name))
        same_bits(state, exported, name)
        if target == "safetensors" and entry.name.startswith("mnasnet"):
            # torchvision's MNASNet asks for its version, for which safetensors has no place.
            exported, half = OrderedDict(exported), OrderedDict(half)
            exported._metadata = half._metadata = state._metadata
        fresh.load_state_dict(exported, strict=True)
        expected = {key: value if key.rpartition(".")[0] in norms else value.half()
                    for key, value in state.items()}
        same_bits(expected, half, "half_" + name)
        fresh.load_state_dict(half, strict=True)
    with safe_open(folder / "out.safetensors", "pt") as file:
        require(file.metadata() == {"format": "pt"}, f"metadata {file.metadata()}")

    onnx_of = ["export", "record.bpk", "--to", "onnx", "--size", str(size)]
    run(*onnx_of, "-o", "half.onnx", "--half")
    half = Path(folder / "half.onnx").stat().st_size
    worst = 0.0
    for opset in OPSETS:
        run(*onnx_of, "-o", "out.onnx", "--opset", str(opset))
        onnx.checker.check_model(str(folder / "out.onnx"), full_check=True)
        worst = max(worst, compare(folder, "out.onnx", entry, run, [1, 3] if opset == 18 else [1]))
    require(half < 0.6 * Path(folder / "out.onnx").stat().st_size, "half precision saves nothing")
    run("import", "half_out.safetensors", "--model", entry.name, "-o", "record.bpk")
    compare(folder, "half.onnx", entry, run, [2])
    return worst


def compare(folder, model, entry, run, batches):
    """The largest difference of a logit, as a share of the largest logit or one."""
    session = onnxruntime.InferenceSession(folder / model, providers=["CPUExecutionProvider"])
    [images], [logits] = session.get_inputs(), session.get_outputs()
    require((images.name, logits.name) == ("images", "logits"), "names of input and output")
    require(images.shape[0] == logits.shape[0] == "batch", f"{images.shape} {logits.shape}")
    worst = 0.0
    for batch in batches:
        values = np.random.default_rng(batch).uniform(-1, 1, [batch, *images.shape[1:]])
        values = values.astype(np.float32)
        save_arrays({"input": values}, folder / "images.safetensors")
        run("forward", entry.name, "-w", "record.bpk", "-i", "images.safetensors",
            "-o", "logits.safetensors")
        expected = load_arrays(folder / "logits.safetensors")["logits"]
        [found] = session.run(None, {"images": values})
        require(found.shape == expected.shape, f"{model}: logits {found.shape}")
        worst = max(worst, float(np.abs(found - expected).max() / max(1, np.abs(expected).max())))
        require(worst <= 1e-4, f"{model} is off by {worst:.1e} for {batch} images")
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True, help="the program")
    parser.add_argument("names", nargs="*", default=VARIANTS)
    args = parser.parse_args()
    failed = []
    for name in args.names:
        with tempfile.TemporaryDirectory() as folder:
            def run(*arguments):
                done = subprocess.run([args.zoo.resolve(), *arguments], cwd=folder,
                                      capture_output=True, text=True)
                require(done.returncode == 0, f"zoo {' '.join(arguments)}: {done.stderr.strip()}")

            try:
                print(f"{name}: ONNX Runtime within {check(name, run, Path(folder)):.1e}")
            except Exception as error:  # whatever a reader dislikes is a finding
                failed.append(name)
                print(f"{name}: {type(error).__name__}: {error}")
        sys.stdout.flush()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
