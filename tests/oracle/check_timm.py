#!/usr/bin/env python3
"""Gives `zoo import` a checkpoint of each of timm's networks that the zoo might take for one of its own.

    check_timm.py --zoo target/debug/zoo [--hub] [NAME or PATTERN ...]

The formula's weights are written as NAME.safetensors, beside a config.json as on the hub. Each has to be
refused, or to give timm's logits. Prints a table; exits with 1 where logits differ.
"""
import argparse
import fnmatch
import json
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import oracle
import timm
import torch
from safetensors.torch import load_file, save_file

FAMILIES = ["vgg*", "resnet*", "wide_resnet*", "resnext*", "seresnet*", "seresnext*", "ecaresnet*",
            "legacy_*", "senet*", "densenet*", "mobilenetv1*", "mobilenetv2*", "mobilenetv3*",
            "tf_mobilenetv3*", "nasnet*", "pnasnet*", "mnasnet*", "semnasnet*", "spnasnet*",
            "efficientnet*", "tf_efficientnet*", "inception_v*", "inception_resnet*", "xception*",
            "ghostnet*"]
# Larger ones take long and differ in nothing but their size.
MOST_PARAMETERS = 150e6
CLASSES = 10
# Of the standard deviation of the logits; float32 is off by less than 1e-4.
TOLERANCE = 2e-3


def size(name):
    if name.startswith(("inception", "resnetv2", "pnasnet", "nasnet")):
        return 160
    return 96


def build(name):
    with oracle.no_init():
        net = timm.create_model(name, num_classes=CLASSES)
    if sum(p.numel() for p in net.parameters()) > MOST_PARAMETERS:
        return None
    net = net.float().eval()
    oracle.fill(net, oracle.DEFAULT_GAIN)
    return net


def zoo(program, *args):
    return subprocess.run([program, *map(str, args)], capture_output=True, text=True)


def check(program, name, folder, hub):
    """The zoo's name for the network and how far it is off, or the reason why it is refused."""
    net = build(name)
    if net is None:
        return None, "not tried: too large"
    pixels = size(name)
    x = torch.from_numpy(oracle.input_array((2, 3, pixels, pixels)))
    conditioner = oracle.Conditioner(net)
    with torch.inference_mode():
        net(x)
        conditioner.remove()
        expected = net(x)
    path = folder / ("model.safetensors" if hub else f"{name}.safetensors")
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)
    config = {"architecture": name, "num_classes": CLASSES}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"input": x}, folder / "input.safetensors")
    record = folder / "record.bpk"
    imported = zoo(program, "import", path, "-o", record)
    path.unlink()
    if imported.returncode != 0:
        reason = imported.stderr.removeprefix("zoo: ").replace(str(path), "it").split("\n")
        return None, " ".join(" ".join(reason[:2]).split())
    variant = re.search(r" as (\S+)$", imported.stderr, re.MULTILINE)[1].split(".")[0]
    output = folder / "output.safetensors"
    ran = zoo(program, "forward", variant, "-w", record, "-i", folder / "input.safetensors",
              "-o", output)
    if ran.returncode != 0:
        return variant, ran.stderr.strip().splitlines()[0]
    return variant, float((load_file(output)["logits"] - expected).abs().max() / expected.std())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--zoo", required=True, help="the program")
    p.add_argument("--hub", action="store_true",
                   help="call the file model.safetensors, so that only config.json tells the name")
    p.add_argument("names", nargs="*", metavar="NAME")
    a = p.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = [n for n in timm.list_models() if any(fnmatch.fnmatch(n, f) for f in a.names or FAMILIES)]
    wrong = []
    print("| timm | read as | largest difference / std of the logits |\n|---|---|---|", flush=True)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            try:
                variant, result = check(a.zoo, name, Path(folder), a.hub)
            except Exception as error:                          # timm itself can't build or run it
                variant, result = None, f"not tried: {type(error).__name__}: {error}"[:100]
        if variant is None:
            row = f"refused: {result}" if not result.startswith("not tried") else result
            print(f"| {name} | | {row} |", flush=True)
            continue
        right = isinstance(result, float) and result < TOLERANCE
        if not right:
            wrong.append(name)
        shown = f"{result:.1e}" if isinstance(result, float) else result
        print(f"| {name} | {variant} | {shown}{'' if right else ' WRONG'} |", flush=True)
    print(f"\n{len(names)} names, {len(wrong)} wrong: {' '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
