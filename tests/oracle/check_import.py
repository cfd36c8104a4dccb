#!/usr/bin/env python3
"""Gives `zoo import` the checkpoints of known networks without saying what they are.

    check_import.py --zoo target/debug/zoo [--forms FORM,...] [NAME[@SIZE] ...]

For each variant the oracle's weights are written as .pth, as .safetensors, as ONNX by both of
PyTorch's exporters, and as a fine-tuned checkpoint: seven classes, in half precision, wrapped.
Each has to be recognised and to give PyTorch's logits, within the tolerance of the parity
fixtures. Exits with 1 and says which failed and how.
"""
import argparse
import dataclasses
import logging
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import oracle
import timm
import torch
from efficientnet_pytorch import EfficientNet
from pytorchcv.model_provider import get_model as pytorchcv
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors

VARIANTS = ["lenet5", "alexnet@224", "vgg11@224", "vgg13_bn@224", "googlenet", "resnet18", "resnet34",
            "resnet50", "resnext50_32x4d", "wide_resnet50_2", "resnet20_cifar", "resnet56_cifar",
            "wrn_16_4", "wrn_40_2", "densenet121", "densenet169", "inception_v2", "inception_v3",
            "inception_v4", "inception_resnet_v2", "xception@96", "nasnet_a_mobile", "se_resnet18",
            "se_resnet50", "se_resnext26_32x4d", "se_resnext50_32x4d", "squeezenet1_0",
            "squeezenet1_1", "mobilenet_v1_1_0", "mobilenet_v1_0_25", "mobilenet_v2",
            "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet0_5", "mnasnet1_0", "mnasnet_a1",
            "efficientnet_b0", "efficientnet_b1", "efficientnet_lite0_timm", "shufflenet_v1_g3",
            "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "ghostnet_050", "ghostnet_100", "unet"]
# The same networks as others spell them.
VARIANTS += ["pytorchcv:" + pair for pair in [
    "resnet18=resnet18@224", "squeezenet_v1_0=squeezenet1_0@224",
    "squeezenet_v1_1=squeezenet1_1@224", "densenet121=densenet121@224", "vgg11=vgg11@224",
    "bn_vgg13b=vgg13_bn@224", "resnext50_32x4d=resnext50_32x4d@224", "alexnetb=alexnet@224",
    "resnet50b=resnet50@224", "xception=xception@299", "mnasnet_b1=mnasnet1_0@224",
    "mnasnet_a1=mnasnet_a1@224"]]
VARIANTS += ["cadene:" + pair for pair in [
    "alexnet=alexnet@224", "vgg11=vgg11@224", "densenet121=densenet121@224",
    "resnet50=resnet50@224", "inceptionv3=inception_v3@299"]]
VARIANTS += ["timm:" + pair for pair in [
    "densenet121=densenet121", "inception_v3=inception_v3", "legacy_xception=xception@96",
    "inception_v4=inception_v4", "mnasnet_100=mnasnet1_0", "mobilenetv2_100=mobilenet_v2",
    "efficientnet_b0=efficientnet_b0", "vgg11=vgg11@224", "vgg11_bn=vgg11_bn@224",
    "vgg13_bn=vgg13_bn@224", "resnet18=resnet18",
    "tf_efficientnet_b0=efficientnet_b0>efficientnet_b0_keras",
    "tf_efficientnet_lite0=efficientnet_lite0_timm>efficientnet_lite0"]]
# Its paddings are those of one size of image.
VARIANTS += [f"lukemelas:efficientnet-b{n}=efficientnet_b{n}@{size}>efficientnet_b{n}_keras"
             for n, size in enumerate([224, 240, 260, 300, 380, 456, 528, 600])]
CLASSES = 7


class Failure(Exception):
    pass


def require(holds, what):
    if not holds:
        raise Failure(what)


def logits(net, x):
    with torch.inference_mode():
        return net(x)


def expected(net, x):
    """The logits and how far others may be from them."""
    single = logits(net, x).numpy()
    double = logits(net.double(), x.double()).numpy()
    net.float()
    error = np.abs(single - double).max()
    return single, max(2e-4 * single.std(), 8 * error)


def save_pth(net, x, path):
    torch.save(net.state_dict(), path)


def save_safetensors(net, x, path):
    save_tensors({key: value.contiguous().clone() for key, value in net.state_dict().items()}, path)


def save_onnx(net, x, path):
    torch.onnx.export(net, (x[:1],), path, opset_version=17, dynamo=False)


def save_dynamo(net, x, path):
    torch.onnx.export(net, (x[:1],), path, opset_version=18, dynamo=True, external_data=False,
                      verbose=False)


def save_tuned(net, x, path):
    """Has seven classes from here on, and weights that half precision holds."""
    classes = logits(net, x).shape[1]
    last = [(name, module) for name, module in net.named_modules()
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))
            and classes in (getattr(module, "out_features", 0), getattr(module, "out_channels", 0))]
    require(last, f"no classifier of {classes} classes")
    for name, module in last:
        parent, _, child = name.rpartition(".")
        if isinstance(module, torch.nn.Linear):
            head = torch.nn.Linear(module.in_features, CLASSES)
        else:
            head = torch.nn.Conv2d(module.in_channels, CLASSES, module.kernel_size)
        setattr(net.get_submodule(parent), child, head)
    net.half().float().eval()
    state = {"module." + key: value.half() if value.is_floating_point() else value
             for key, value in net.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, path)


FORMS = {"pth": save_pth, "safetensors": save_safetensors, "onnx": save_onnx,
         "dynamo": save_dynamo, "tuned": save_tuned}


def cadene(name):
    return getattr(oracle._cadene("torchvision_models"), name)(pretrained=None)


def lookup(spec):
    """NAME[@SIZE], or LIBRARY:THEIRS=NAME[@SIZE][>VARIANT] for a network that others spell
    otherwise; it has the images and sizes of NAME, and is VARIANT if it isn't NAME."""
    theirs, _, ours = spec.rpartition("=")
    library, _, theirs = theirs.partition(":")
    ours, _, variant = ours.partition(">")
    entry, size = oracle.lookup(ours)
    if theirs:
        build = {"timm": timm.create_model, "pytorchcv": pytorchcv, "cadene": cadene,
                 "lukemelas": EfficientNet.from_name}[library]
        entry = dataclasses.replace(entry, name=variant or entry.name, feat=None,
                                    build=lambda: build(theirs))
    return entry, size


def check(spec, form, run, folder):
    """The largest difference of a logit, as a share of what is allowed."""
    entry, size = lookup(spec)
    net = oracle.conditioned(entry, size)
    x = torch.from_numpy(oracle.input_array(entry.shape(size)))
    # A file's name tells apart what has the same keys and shapes.
    path = folder / (spec.partition("=")[0].partition(":")[2] or "checkpoint")
    FORMS[form](net, x, str(path))
    said = run("import", path.name, "-o", "record.bpk")
    found = re.search(r" as (\S+)", said).group(1)
    # Exporters put BatchNorm into the convolutions, which makes a plain network of VGG's.
    folded = entry.name.removesuffix("_bn") if form in ("onnx", "dynamo") else entry.name
    require(found in (entry.name, folded), f"taken for {found}")
    save_file({"input": x.numpy()}, folder / "in.safetensors")
    run("forward", found, "-w", "record.bpk", "-i", "in.safetensors", "-o", "out.safetensors")
    single, tolerance = expected(net, x)
    ours = load_file(folder / "out.safetensors")["logits"]
    require(ours.shape == single.shape, f"logits {ours.shape}")
    difference = float(np.abs(ours - single).max() / tolerance)
    require(difference <= 1, f"off by {difference:.1f} times what is allowed")
    return difference


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True, help="the program")
    parser.add_argument("--forms", default="pth,safetensors,onnx", help=", ".join(FORMS))
    parser.add_argument("names", nargs="*", default=VARIANTS)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    failed = []
    for name in args.names:
        results = []
        for form in args.forms.split(","):
            with tempfile.TemporaryDirectory() as folder:
                def run(*arguments):
                    done = subprocess.run([args.zoo.resolve(), *arguments], cwd=folder,
                                          capture_output=True, text=True)
                    require(done.returncode == 0, f"zoo {arguments[0]}: {done.stderr.strip()}")
                    return done.stderr

                try:
                    results.append(f"{form} {check(name, form, run, Path(folder)):.2f}")
                except Exception as error:  # whatever goes wrong is a finding
                    failed.append(f"{name} ({form})")
                    results.append(f"{form} {type(error).__name__}: {error}")
        print(f"{name}: {', '.join(results)}", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
