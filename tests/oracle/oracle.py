#!/usr/bin/env python3
"""Parity oracle for a CNN model zoo.

Every tensor of a reference network is filled from a formula of its own
state-dict key (see README.md), the network is run once in eval mode on a
formula input, and the outputs are written down as a small JSON fixture.  A
second implementation can regenerate all weights from the keys and shapes,
push them through its importer and must reproduce the logits.

    oracle.py list
    oracle.py generate [--only NAME[@SIZE] ...] --out DIR [--jobs N]
    oracle.py state-dict NAME[@SIZE] --out x.safetensors | x.pth
    oracle.py input NAME[@SIZE] --out in.safetensors
    oracle.py preprocess --out DIR [--data SKIMAGE_DATA_DIR]
    oracle.py verify FIXTURE.json ...
    oracle.py gradients NAME[@SIZE] ... --out DIR
    oracle.py explain --out DIR
    oracle.py pyramids [NAME[@SIZE] ...] --out DIR
    oracle.py vectors

All computation is single-threaded per process so that a rerun on the same
machine is bit-identical; --jobs starts independent processes.
"""
from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import os
import sys
import time
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

import numpy as np

# --------------------------------------------------------------------------
# The formula
# --------------------------------------------------------------------------

FNV_OFFSET = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3
GAMMA = 0x9E3779B97F4A7C15
MIX1 = 0xBF58476D1CE4E5B9
MIX2 = 0x94D049BB133111EB
MASK64 = (1 << 64) - 1
CHUNK = 1 << 17
DEFAULT_GAIN = 2.0


def fnv1a64(text: str) -> int:
    h = FNV_OFFSET
    for b in text.encode("utf-8"):
        h = ((h ^ b) * FNV_PRIME) & MASK64
    return h


def uniform(key: str, n: int, start: int = 0) -> np.ndarray:
    """s[0..n) of `key`: exact multiples of 2^-23 in [-1, 1), as float64."""
    seed = fnv1a64(key)
    out = np.empty(n, dtype=np.float64)
    for lo in range(0, n, CHUNK):
        hi = min(n, lo + CHUNK)
        z = np.arange(start + lo + 1, start + hi + 1, dtype=np.uint64)
        z *= np.uint64(GAMMA)          # wraps modulo 2^64
        z += np.uint64(seed)
        z ^= z >> np.uint64(30)
        z *= np.uint64(MIX1)
        z ^= z >> np.uint64(27)
        z *= np.uint64(MIX2)
        z ^= z >> np.uint64(31)
        z >>= np.uint64(40)            # 24 bits: u = z / 2^24, s = 2u - 1
        np.multiply(z, 2.0 ** -23, out=out[lo:hi])
        out[lo:hi] -= 1.0
    return out


def weight(key: str, shape, gain: float) -> np.ndarray:
    """Convolution / linear weight: s * sqrt(3 * gain / fan_in), as float32."""
    n, fan_in = math.prod(shape), math.prod(shape[1:])
    bound = math.sqrt(3.0 * gain / fan_in)
    return (uniform(key, n) * bound).astype(np.float32).reshape(shape)


def bn_running_mean(key: str, n: int, m: np.float32, v: np.float32) -> np.ndarray:
    scale = 0.1 * math.sqrt(float(v))
    return (float(m) + scale * uniform(key, n)).astype(np.float32)


def bn_running_var(key: str, n: int, v: np.float32) -> np.ndarray:
    return (float(v) * (1.0 + 0.5 * uniform(key, n))).astype(np.float32)


def tensor_for(key: str, shape, is_bn: bool, gain: float) -> np.ndarray:
    """Everything except BatchNorm running statistics."""
    if len(shape) >= 2:
        return weight(key, shape, gain)
    n = math.prod(shape)
    s = uniform(key, n)
    if is_bn and key.endswith(".weight"):
        val = 1.0 + 0.25 * s
    else:
        val = 0.1 * s
    return val.astype(np.float32).reshape(shape)


def input_array(shape) -> np.ndarray:
    return (2.0 * uniform("input", math.prod(shape))).astype(np.float32).reshape(shape)


# --------------------------------------------------------------------------
# Filling and conditioning a torch network
# --------------------------------------------------------------------------


@contextmanager
def no_init():
    """Skip random initialisation while a network is being built."""
    import torch.nn.init as init

    saved = {k: getattr(init, k) for k in dir(init)
             if k.endswith("_") and not k.startswith("_") and callable(getattr(init, k))}
    for k in saved:
        setattr(init, k, lambda t=None, *a, **kw: t)
    try:
        yield
    finally:
        for k, f in saved.items():
            setattr(init, k, f)


def bn_layers(model) -> "OrderedDict[str, object]":
    from torch.nn.modules.batchnorm import _BatchNorm

    return OrderedDict((n, m) for n, m in model.named_modules() if isinstance(m, _BatchNorm))


def fill(model, gain: float) -> None:
    """Write the formula into every state-dict entry (running stats: m=0, v=1)."""
    import torch

    sd = model.state_dict()
    bns = {k[: -len(".running_mean")] for k in sd if k.endswith(".running_mean")}
    with torch.no_grad():
        for key, t in sd.items():
            prefix, _, leaf = key.rpartition(".")
            if not t.is_floating_point():
                t.zero_()                         # num_batches_tracked
                continue
            if prefix in bns and leaf == "running_mean":
                a = bn_running_mean(key, t.numel(), np.float32(0), np.float32(1))
            elif prefix in bns and leaf == "running_var":
                a = bn_running_var(key, t.numel(), np.float32(1))
            else:
                a = tensor_for(key, tuple(t.shape), prefix in bns, gain)
            t.copy_(torch.from_numpy(a))


def shortest(x) -> float:
    """A Python float whose JSON text is the shortest that reads back as f32 x."""
    x = np.float32(x)
    f = float(str(x))
    assert np.float32(f) == x or not np.isfinite(x)
    return f


class Conditioner:
    """Pre-hooks that set each BatchNorm's running stats on its first call."""

    def __init__(self, model):
        self.stats: "OrderedDict[str, tuple]" = OrderedDict()
        self.handles = []
        for name, mod in bn_layers(model).items():
            self.handles.append(mod.register_forward_pre_hook(self._hook(name)))

    def _hook(self, name):
        import torch

        def hook(mod, args):
            if name in self.stats:
                return
            x = args[0].detach().double()
            m = np.float32(x.mean().item())
            v = np.float32(x.var(unbiased=False).item())
            if not v >= 1e-12:
                v = np.float32(1)
            self.stats[name] = (m, v)
            n = mod.num_features
            with torch.no_grad():
                mod.running_mean.copy_(torch.from_numpy(
                    bn_running_mean(name + ".running_mean", n, m, v)))
                mod.running_var.copy_(torch.from_numpy(
                    bn_running_var(name + ".running_var", n, v)))
        return hook

    def remove(self):
        for h in self.handles:
            h.remove()


class Tap:
    """Catches the last feature map before global pooling."""

    def __init__(self, model, spec: Optional[str]):
        self.first, self.at, self.handle = None, None, None
        if not spec:
            return
        kind, _, name = spec.partition(":")
        if kind == "out":
            self.at = f"output of {name}"
            self.handle = model.get_submodule(name).register_forward_hook(
                lambda mod, a, out: self._keep(out))
        elif kind == "in":
            self.at = f"input of {name}"
            self.handle = model.get_submodule(name).register_forward_pre_hook(
                lambda mod, a: self._keep(a[0]))
        elif kind == "method":
            self.at = f"return value of {name}()"
            inner = getattr(model, name)

            def wrapped(*a, **k):
                out = inner(*a, **k)
                self._keep(out)
                return out
            setattr(model, name, wrapped)
        else:
            raise ValueError(spec)

    def _keep(self, t):
        """Only the first (float32, conditioning) pass counts."""
        if self.first is None:
            self.first = t.detach().clone()


# --------------------------------------------------------------------------
# Own reference definitions (from the papers)
# --------------------------------------------------------------------------


def _nn():
    import torch
    from torch import nn
    return torch, nn, nn.functional


def lenet5():
    """LeCun et al. 1998 with plain average pooling and a linear output layer."""
    torch, nn, F = _nn()

    class LeNet5(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 6, 5)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.fc1 = nn.Linear(400, 120)
            self.fc2 = nn.Linear(120, 84)
            self.fc3 = nn.Linear(84, 10)

        def forward(self, x):
            x = F.avg_pool2d(torch.tanh(self.conv1(x)), 2)
            x = F.avg_pool2d(torch.tanh(self.conv2(x)), 2)
            x = torch.tanh(self.fc1(x.flatten(1)))
            return self.fc3(torch.tanh(self.fc2(x)))

    return LeNet5()


def lenet5_28(relu: bool):
    """LeNet-5 for 28x28 images without padding; with ReLU and maxima, or as above."""
    torch, nn, F = _nn()
    act, pool = (F.relu, F.max_pool2d) if relu else (torch.tanh, F.avg_pool2d)

    class LeNet5(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 6, 5)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.fc1 = nn.Linear(256, 120)
            self.fc2 = nn.Linear(120, 84)
            self.fc3 = nn.Linear(84, 10)

        def forward(self, x):
            x = pool(act(self.conv2(pool(act(self.conv1(x)), 2))), 2).flatten(1)
            return self.fc3(act(self.fc2(act(self.fc1(x)))))

    return LeNet5()


def cifar_stem(name: str):
    """torchvision's ResNet behind a 3x3 stem without pooling."""
    torch, nn, F = _nn()
    net = _torchvision(name, num_classes=10)
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    return net


def cifar_resnet_b(depth: int):
    """He et al. 2015 section 4.2 with shortcuts by projection (option B), of torchvision's blocks."""
    from torchvision.models.resnet import BasicBlock, ResNet
    torch, nn, F = _nn()
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)
    net.inplanes = 16
    net.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
    net.bn1 = nn.BatchNorm2d(16)
    net.maxpool = net.layer4 = nn.Identity()
    for stage, channels in enumerate((16, 32, 64), 1):
        layer = net._make_layer(BasicBlock, channels, (depth - 2) // 6, min(stage, 2))
        setattr(net, f"layer{stage}", layer)
    net.fc = nn.Linear(64, 10)
    return net


def caffe_resnet50(ceil: bool):
    """torchvision's with the stride on the first 1x1 convolution, and Caffe's pooling."""
    torch, nn, F = _nn()
    net = _torchvision("resnet50", num_classes=10)
    for layer in (net.layer2, net.layer3, net.layer4):
        layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    if ceil:
        net.maxpool = nn.MaxPool2d(3, 2, padding=0, ceil_mode=True)
    return net


def cifar_mobilenet_v1():
    """Howard et al. 2017 for 32x32 images: the stem keeps the size."""
    torch, nn, F = _nn()

    class Block(nn.Module):
        def __init__(self, cin, cout, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(cin, cin, 3, stride, 1, groups=cin, bias=False)
            self.bn1 = nn.BatchNorm2d(cin)
            self.conv2 = nn.Conv2d(cin, cout, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(cout)

        def forward(self, x):
            return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 32, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(32)
            widths = [32, 64, 128, 128, 256, 256] + 6 * [512] + 2 * [1024]
            self.layers = nn.Sequential(*[
                Block(a, b, 2 if b > a > 32 else 1) for a, b in zip(widths, widths[1:])])
            self.linear = nn.Linear(1024, 10)

        def forward(self, x):
            x = self.layers(F.relu(self.bn1(self.conv1(x))))
            return self.linear(x.mean((2, 3)))

    return Net()


def cifar_mobilenet_v2(width: float):
    """torchvision's, whose stem and second stage do not halve."""
    net = _torchvision("mobilenet_v2", num_classes=10, width_mult=width)
    net.features[0][0].stride = net.features[2].conv[1][0].stride = (1, 1)
    return net


def cifar_shufflenet_v2(name: str):
    """torchvision's, whose stem does not halve, without pooling."""
    torch, nn, F = _nn()
    net = _torchvision(name, num_classes=10)
    net.conv1[0].stride = (1, 1)
    net.maxpool = nn.Identity()
    return net


def cifar_vgg(name: str, hidden: int):
    """torchvision's features, and two hidden layers or none."""
    torch, nn, F = _nn()
    net = _torchvision(name)
    net.avgpool = nn.Identity()
    net.classifier = nn.Sequential(
        nn.Linear(512, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Dropout(), nn.Linear(hidden, 10)) if hidden else nn.Linear(512, 10)
    return net


def cifar_resnet(depth: int, classes: int = 10):
    """He et al. 2015 section 4.2, option A (parameter-free) shortcuts."""
    torch, nn, F = _nn()
    assert (depth - 2) % 6 == 0

    class Unit(nn.Module):
        def __init__(self, cin, cout, stride):
            super().__init__()
            self.stride, self.extra = stride, cout - cin
            self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(cout)
            self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(cout)

        def forward(self, x):
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if self.stride > 1 or self.extra:
                x = x[:, :, :: self.stride, :: self.stride]
                half = self.extra // 2            # = cout/4 when channels double
                x = F.pad(x, (0, 0, 0, 0, half, self.extra - half))
            return F.relu(x + y)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            n = (depth - 2) // 6
            self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(16)
            cin = 16
            for i, c in enumerate((16, 32, 64), 1):
                units = []
                for j in range(n):
                    units.append(Unit(cin, c, 2 if i > 1 and j == 0 else 1))
                    cin = c
                setattr(self, f"layer{i}", nn.Sequential(*units))
            self.linear = nn.Linear(64, classes)

        def forward(self, x):
            x = F.relu(self.bn1(self.conv1(x)))
            x = self.layer3(self.layer2(self.layer1(x)))
            return self.linear(x.mean((2, 3)))

    return Net()


def wide_resnet(blocks: int, k: int, kernels=(3, 3), classes: int = 10):
    """Zagoruyko & Komodakis 2016: `blocks` units per group, widening k, block
    type B(kernels).  Pre-activation order; every convolution of a block has
    the block's width; the first convolution carries the stride.  Where the
    widths differ a 1x1 `convShortcut` acts on the pre-activated input, else
    the shortcut is the identity of the raw input."""
    torch, nn, F = _nn()

    class Unit(nn.Module):
        def __init__(self, cin, cout, stride):
            super().__init__()
            c = cin
            for i, ks in enumerate(kernels, 1):
                setattr(self, f"bn{i}", nn.BatchNorm2d(c))
                setattr(self, f"conv{i}", nn.Conv2d(
                    c, cout, ks, stride if i == 1 else 1, ks // 2, bias=False))
                c = cout
            self.convShortcut = (nn.Conv2d(cin, cout, 1, stride, bias=False)
                                 if cin != cout else None)

        def forward(self, x):
            pre = F.relu(self.bn1(x))
            y = self.conv1(pre)
            for i in range(2, len(kernels) + 1):
                y = getattr(self, f"conv{i}")(F.relu(getattr(self, f"bn{i}")(y)))
            return y + (x if self.convShortcut is None else self.convShortcut(pre))

    class Group(nn.Module):
        def __init__(self, cin, cout, stride):
            super().__init__()
            self.layer = nn.Sequential(*[
                Unit(cin if j == 0 else cout, cout, stride if j == 0 else 1)
                for j in range(blocks)])

        def forward(self, x):
            return self.layer(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.block1 = Group(16, 16 * k, 1)
            self.block2 = Group(16 * k, 32 * k, 2)
            self.block3 = Group(32 * k, 64 * k, 2)
            self.bn1 = nn.BatchNorm2d(64 * k)
            self.fc = nn.Linear(64 * k, classes)

        def forward(self, x):
            x = self.block3(self.block2(self.block1(self.conv1(x))))
            return self.fc(F.relu(self.bn1(x)).mean((2, 3)))

    return Net()


def ae_cnn(genome: str, classes: int = 10):
    """Sun et al. 2018, arXiv 1810.11875: a list of units.  `r64x3`: 3 residual
    blocks with 64 channels; `d12x4`: 4 dense layers of growth rate 12, behind a
    1x1 convolution if the input has more channels than the limit; `m` and `a`:
    poolings.  The classifier takes the mean over all positions, not all of them."""
    torch, nn, F = _nn()

    class Block(nn.Module):
        def __init__(self, cin, cout):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(cin, cout, 1, bias=False), nn.BatchNorm2d(cout)
            self.conv2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(cout)
            self.conv3, self.bn3 = nn.Conv2d(cout, cout, 1, bias=False), nn.BatchNorm2d(cout)
            self.shortcut = nn.Sequential() if cin == cout else nn.Sequential(
                nn.Conv2d(cin, cout, 1, bias=False), nn.BatchNorm2d(cout))

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)))
            y = F.relu(self.bn2(self.conv2(y)))
            return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))

    class ResNetUnit(nn.Module):
        def __init__(self, cin, cout, amount):
            super().__init__()
            self.blocks = nn.Sequential(*[
                Block(cin if i == 0 else cout, cout) for i in range(amount)])
            self.cout = cout

        def forward(self, x):
            return self.blocks(x)

    class DenseLayer(nn.Module):
        def __init__(self, cin, k):
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(cin), nn.Conv2d(cin, 4 * k, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(4 * k)
            self.conv2 = nn.Conv2d(4 * k, k, 3, padding=1, bias=False)

        def forward(self, x):
            y = self.conv1(F.relu(self.bn1(x)))
            return torch.cat((x, self.conv2(F.relu(self.bn2(y)))), 1)

    class DenseNetUnit(nn.Module):
        def __init__(self, cin, k, amount):
            super().__init__()
            limit = 64 if k <= 12 else 128 if k <= 20 else 256
            self.reduce = nn.Sequential()
            if cin > limit:
                self.reduce = nn.Sequential(
                    nn.Conv2d(cin, limit, 1, bias=False), nn.BatchNorm2d(limit), nn.ReLU())
                cin = limit
            self.layers = nn.Sequential(*[DenseLayer(cin + i * k, k) for i in range(amount)])
            self.cout = cin + amount * k

        def forward(self, x):
            return self.layers(self.reduce(x))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.units, c = nn.Sequential(), 3
            for code in genome.split("_"):
                if code in ("m", "a"):
                    self.units.append(nn.MaxPool2d(2) if code == "m" else nn.AvgPool2d(2))
                    continue
                width, amount = map(int, code[1:].split("x"))
                unit = {"r": ResNetUnit, "d": DenseNetUnit}[code[0]](c, width, amount)
                self.units.append(unit)
                c = unit.cout
            self.linear = nn.Linear(c, classes)

        def forward(self, x):
            return self.linear(self.units(x).mean((2, 3)))

    return Net()


def unet(bilinear: bool, cin: int = 3, classes: int = 1):
    """Ronneberger et al. 2015 in the padded, batch-normalised form; key names
    as in the widely used milesial/Pytorch-UNet checkpoints."""
    torch, nn, F = _nn()

    class Double(nn.Module):
        def __init__(self, a, b, mid=None):
            super().__init__()
            mid = mid or b
            self.double_conv = nn.Sequential(
                nn.Conv2d(a, mid, 3, padding=1, bias=False), nn.BatchNorm2d(mid), nn.ReLU(),
                nn.Conv2d(mid, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())

        def forward(self, x):
            return self.double_conv(x)

    class Down(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), Double(a, b))

        def forward(self, x):
            return self.maxpool_conv(x)

    class Up(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            if bilinear:
                self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
                self.conv = Double(a, b, a // 2)
            else:
                self.up = nn.ConvTranspose2d(a, a // 2, 2, 2)
                self.conv = Double(a, b)

        def forward(self, x, skip):
            x = self.up(x)
            dh, dw = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            x = F.pad(x, (dw // 2, dw - dw // 2, dh // 2, dh - dh // 2))
            return self.conv(torch.cat((skip, x), 1))

    class Out(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(64, classes, 1)

        def forward(self, x):
            return self.conv(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            f = 2 if bilinear else 1
            self.inc = Double(cin, 64)
            self.down1, self.down2 = Down(64, 128), Down(128, 256)
            self.down3, self.down4 = Down(256, 512), Down(512, 1024 // f)
            self.up1, self.up2 = Up(1024, 512 // f), Up(512, 256 // f)
            self.up3, self.up4 = Up(256, 128 // f), Up(128, 64)
            self.outc = Out()

        def forward(self, x):
            a = self.inc(x)
            b = self.down1(a)
            c = self.down2(b)
            d = self.down3(c)
            y = self.down4(d)
            return self.outc(self.up4(self.up3(self.up2(self.up1(y, d), c), b), a))

    return Net()


def se_inception_v2(with_se: bool = True):
    """BN-Inception (parameters of the Cadene module) with squeeze-and-excitation
    of ratio 16 on every inception module's concatenated output.  The forward
    pass is driven by the module list; `with_se=False` must agree with the
    original bit for bit (checked in `oracle.py selfcheck`)."""
    torch, nn, F = _nn()
    base = _cadene("bninception").BNInception

    class SE(nn.Module):
        def __init__(self, c, r=16):
            super().__init__()
            self.fc1 = nn.Conv2d(c, c // r, 1)
            self.fc2 = nn.Conv2d(c // r, c, 1)

        def forward(self, x):
            g = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
            return x * torch.sigmoid(g)

    modules = ["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]

    class Net(base):
        def __init__(self):
            super().__init__()
            c = 192
            for m in modules if with_se else []:
                p = f"inception_{m}_"
                tails = [getattr(self, p + t).out_channels
                         for t in ("1x1", "3x3", "double_3x3_2", "pool_proj") if hasattr(self, p + t)]
                c = sum(tails) + (0 if hasattr(self, p + "pool_proj") else c)
                self.add_module(p + "se", SE(c))

        def _cbr(self, name, x):
            return F.relu(getattr(self, name + "_bn")(getattr(self, name)(x)))

        def features(self, x):
            x = self.pool1_3x3_s2(self._cbr("conv1_7x7_s2", x))
            x = self.pool2_3x3_s2(self._cbr("conv2_3x3", self._cbr("conv2_3x3_reduce", x)))
            for m in modules:
                p = f"inception_{m}_"
                parts = [self._cbr(p + "1x1", x)] if hasattr(self, p + "1x1") else []
                parts.append(self._cbr(p + "3x3", self._cbr(p + "3x3_reduce", x)))
                y = self._cbr(p + "double_3x3_reduce", x)
                y = self._cbr(p + "double_3x3_1", y)
                parts.append(self._cbr(p + "double_3x3_2", y))
                y = getattr(self, p + "pool")(x)
                parts.append(self._cbr(p + "pool_proj", y) if hasattr(self, p + "pool_proj") else y)
                x = torch.cat(parts, 1)
                if with_se:
                    x = getattr(self, p + "se")(x)
            return x

    net = Net()
    net.global_pool = nn.AdaptiveAvgPool2d(1)
    return net


# --------------------------------------------------------------------------
# Reference libraries
# --------------------------------------------------------------------------


def _cadene(module: str):
    """Load one model file of pretrainedmodels without running the package's
    __init__ (which wants six, munch and data-set helpers)."""
    import importlib.util

    name = f"_cadene_{module}"
    if name not in sys.modules:
        root = Path(importlib.util.find_spec("pretrainedmodels").origin).parent
        spec = importlib.util.spec_from_file_location(name, root / "models" / f"{module}.py")
        mod = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(mod)
        sys.modules[name] = mod
    return sys.modules[name]


def _torchvision(name, **kw):
    import torchvision
    return getattr(torchvision.models, name)(weights=None, **kw)


def _timm(name, **kw):
    import timm
    return timm.create_model(name, pretrained=False, **kw)


def _transformers(name, **config):
    """A network of `transformers` for ten classes that returns logits."""
    import transformers
    config = getattr(transformers, f"{name}Config")(num_labels=10, **config)
    net = getattr(transformers, f"{name}ForImageClassification")(config)
    forward = net.forward
    net.forward = lambda x: forward(pixel_values=x).logits
    return net


def _pytorchcv(name):
    from torch import nn
    from pytorchcv.model_provider import get_model
    net = get_model(name, pretrained=False)
    net.features.final_pool = nn.AdaptiveAvgPool2d(1)   # fixed 7x7 (8x8) upstream
    return net


def _nasnet_mobile():
    from torch import nn
    net = _cadene("nasnet_mobile").NASNetAMobile(num_classes=1000)
    net.avg_pool = nn.AdaptiveAvgPool2d(1)              # fixed 7x7 upstream
    return net


def _bninception():
    from torch import nn
    net = _cadene("bninception").BNInception()
    net.global_pool = nn.AdaptiveAvgPool2d(1)           # fixed 7x7 upstream
    return net


# --------------------------------------------------------------------------
# Registry
# --------------------------------------------------------------------------

TV, TM, PM, PC = "torchvision 0.29.2", "timm 1.0.31", "pretrainedmodels 0.7.4", "pytorchcv 0.0.74"
HF = "transformers 5.24.0"
POOL = "fixed global AvgPool replaced by AdaptiveAvgPool2d(1)"


@dataclass
class Entry:
    name: str
    oracle: str
    build: Callable
    feat: Optional[str]
    sizes: tuple                       # the first is the default, batch 2
    channels: int = 3
    expect: Optional[int] = None       # published parameter count, if given
    gain: float = DEFAULT_GAIN
    variant: Optional[str] = None      # the network's name, where it is not the entry's

    def shape(self, size: int):
        return (2 if size == self.sizes[0] else 1, self.channels, size, size)


REGISTRY: "OrderedDict[str, Entry]" = OrderedDict()


def _add(name, oracle, build, feat, *sizes, channels=3, expect=None, variant=None):
    assert name not in REGISTRY, name
    REGISTRY[name] = Entry(name, oracle, build, feat, sizes, channels, expect, variant=variant)


def _register():
    def tv(name, feat, *sizes, fn=None, expect=None, **kw):
        fn = fn or name
        args = "".join(f", {k}={v}" for k, v in kw.items())
        shown = args.replace(", init_weights=False", "")
        _add(name, f"{TV} models.{fn}(weights=None{shown})",
             lambda: _torchvision(fn, **kw), feat, *sizes, expect=expect)

    tv("alexnet", "out:features", 64, 224, expect=61100840)
    for d in (11, 13, 16, 19):
        tv(f"vgg{d}", "out:features", *((64, 224) if d == 16 else (64,)))
        tv(f"vgg{d}_bn", "out:features", 64)
    for n in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2",
              "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"):
        canon = n in ("resnet18", "resnet50", "resnext50_32x4d")
        tv(n, "out:layer4", *((64, 224) if canon else (64,)),
           expect=25557032 if n == "resnet50" else None)
    for d in (121, 161, 169, 201):
        tv(f"densenet{d}", "out:features", *((64, 224) if d == 121 else (64,)))
    tv("mobilenet_v2", "out:features", 64, 224)
    tv("mobilenet_v2_w0_5", "out:features", 64, fn="mobilenet_v2", width_mult=0.5)
    tv("mobilenet_v2_w1_4", "out:features", 64, fn="mobilenet_v2", width_mult=1.4)
    tv("mobilenet_v3_small", "out:features", 64)
    tv("mobilenet_v3_large", "out:features", 64, 224)
    for n in ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"):
        tv(n, "out:layers", *((64, 224) if n == "mnasnet1_0" else (64,)))
    for i, canon in enumerate((224, None, None, 300, None, None, None, None)):
        tv(f"efficientnet_b{i}", "out:features", *((64, canon) if canon else (64,)))
    tv("googlenet", "out:inception5b", 64, 224, aux_logits=True, transform_input=False,
       init_weights=False, expect=13004888)
    tv("inception_v3", "out:Mixed_7c", 139, 299, aux_logits=True, transform_input=False,
       init_weights=False, expect=27161264)
    tv("squeezenet1_0", "out:features", 64)
    tv("squeezenet1_1", "out:features", 64, 224)
    for n in ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"):
        tv(n, "out:conv5", *((64, 224) if n.endswith("x1_0") else (64,)))

    def tm(name, fn, *sizes, expect=None):
        _add(name, f"{TM} create_model('{fn}')", lambda: _timm(fn),
             "method:forward_features", *sizes, expect=expect)

    for d in (18, 34, 50, 101, 152):
        tm(f"se_resnet{d}", f"legacy_seresnet{d}", *((64, 224) if d == 50 else (64,)))
    for d in (26, 50, 101):
        tm(f"se_resnext{d}_32x4d", f"legacy_seresnext{d}_32x4d", 64)
    tm("senet154", "legacy_senet154", 64, expect=115088984)
    for w in ("050", "100", "130"):
        tm(f"ghostnet_{w}", f"ghostnet_{w}", *((64, 224) if w == "100" else (64,)),
           expect=5182508 if w == "100" else None)
    tm("inception_v4", "inception_v4", 139, 299, expect=42679816)
    tm("inception_resnet_v2", "inception_resnet_v2", 139, 299, expect=55843464)
    tm("xception", "legacy_xception", 96, 299, expect=22855952)
    tm("nasnet_a_large", "nasnetalarge", 96, 331, expect=88753150)
    tm("mobilenet_v1_timm", "mobilenetv1_100", 64)
    tm("mnasnet_a1", "semnasnet_100", 64)
    _add("mobilenet_v2_timm", f"{TM} create_model('mobilenetv2_100')",
         lambda: _timm("mobilenetv2_100"), "method:forward_features", 64, variant="mobilenet_v2")
    for i in range(5):
        tm(f"efficientnet_lite{i}_timm", f"efficientnet_lite{i}", 64)

    _add("nasnet_a_mobile", f"{PM} nasnet_mobile.NASNetAMobile(num_classes=1000), {POOL}",
         _nasnet_mobile, "method:features", 96, 224, expect=5289978)
    _add("inception_v2", f"{PM} bninception.BNInception(num_classes=1000), {POOL}",
         _bninception, "method:features", 64, 224, expect=11295240)

    def pc(name, fn, *sizes, feat="in:features.final_pool", expect=None):
        _add(name, f"{PC} get_model('{fn}'), {POOL}", lambda: _pytorchcv(fn), feat, *sizes,
             expect=expect)

    for w, fn in (("1_0", "w1"), ("0_75", "w3d4"), ("0_5", "wd2"), ("0_25", "wd4")):
        pc(f"mobilenet_v1_{w}", f"mobilenet_{fn}", *((64, 224) if fn == "w1" else (64,)))
    for g in (1, 2, 3, 4, 8):
        pc(f"shufflenet_v1_g{g}", f"shufflenet_g{g}_w1", *((64, 224) if g == 3 else (64,)),
           expect=1865728 if g == 3 else None)
    pc("ghostnet_100_pytorchcv", "ghostnet", 64, expect=5180840)
    pc("wrn_16_10_pytorchcv", "wrn16_10_cifar10", 32)
    pc("densenet_bc_100_k12", "densenet100_k12_bc_cifar10", 32,
       feat="out:features.post_activ.bn", expect=769162)     # before its ReLU, as in torchvision

    def ten(name, fn, *sizes, **kw):
        args = "".join(f", {k}={v}" for k, v in kw.items())
        _add(name, f"{TM} create_model('{fn}', num_classes=10{args})",
             lambda: _timm(fn, num_classes=10, **kw), "method:forward_features", *sizes)

    # 75 leaves odd maps; anti-aliasing by averages needs even ones.
    for n in ("resnet14t", "resnet18d", "seresnet18"):
        ten(n, n, 64, 75)
    for n in ("resnet26", "resnet50s", "resnetaa34d", "resnetaa50"):
        ten(n, n, 64)
    for n in ("resnetblur18", "resnetblur50d"):
        ten(n, n, 64, 75)
    ten("mobilenet_v1_1_25_timm", "mobilenetv1_125", 64)
    ten("efficientnet_blur_b0", "efficientnet_blur_b0", 64, 75)
    ten("mnasnet_a1_w0_75", "semnasnet_075", 64)
    for n, fn in (("large", "large_100"), ("small", "small_100"), ("small_w0_5", "small_050"),
                  ("large_w0_75", "large_075")):
        ten(f"mobilenet_v3_{n}_timm", f"mobilenetv3_{fn}", 64)
    for n, fn in (("large", "large_100"), ("small_w0_75", "small_075")):
        ten(f"mobilenet_v3_{n}_tf", f"tf_mobilenetv3_{fn}", 64, 75)

    def hf(variant, name, feat, *sizes, **config):
        args = "".join(f", {k}={v}" for k, v in config.items())
        _add(f"{variant}_transformers", f"{HF} {name}ForImageClassification(num_labels=10{args})",
             lambda: _transformers(name, **config), feat, *sizes, variant=variant)

    hf("resnet18", "ResNet", None, 64, layer_type="basic", depths=[2, 2, 2, 2],
       hidden_sizes=[64, 128, 256, 512])
    hf("resnet50", "ResNet", None, 64)
    hf("mobilenet_v1_0_25_keras", "MobileNetV1", None, 64, depth_multiplier=0.25)
    hf("mobilenet_v2_w0_35_keras", "MobileNetV2", None, 64, depth_multiplier=0.35)
    hf("mobilenet_v2_keras", "MobileNetV2", None, 75)
    hf("efficientnet_b0_keras", "EfficientNet", None, 64, width_coefficient=1.0,
       depth_coefficient=1.0, hidden_dim=1280)

    own = "own definition"
    _add("lenet5_28", f"{own} lenet5_28(relu=False)", lambda: lenet5_28(False), None, 28, channels=1)
    _add("lenet5_28_relu", f"{own} lenet5_28(relu=True)", lambda: lenet5_28(True), None, 28,
         channels=1)
    for d in (18, 50):
        _add(f"resnet{d}_cifar_stem", f"{own} cifar_stem('resnet{d}') on {TV}",
             lambda d=d: cifar_stem(f"resnet{d}"), "out:layer4", 32)
    _add("resnet20_cifar_b", f"{own} cifar_resnet_b(20) on {TV}", lambda: cifar_resnet_b(20),
         "out:layer3", 32, expect=272474)
    for n, ceil in (("resnet50_caffe", False), ("resnet50_caffe_ceil", True)):
        _add(n, f"{own} caffe_resnet50(ceil={ceil}) on {TV}", lambda ceil=ceil: caffe_resnet50(ceil),
             "out:layer4", 64)
    _add("mobilenet_v1_cifar", f"{own} cifar_mobilenet_v1() on {TM}", cifar_mobilenet_v1, None, 32)
    for n, w in (("mobilenet_v2_cifar", 1.0), ("mobilenet_v2_w0_5_cifar", 0.5)):
        _add(n, f"{own} cifar_mobilenet_v2({w}) on {TV}", lambda w=w: cifar_mobilenet_v2(w),
             "out:features", 32)
    _add("shufflenet_v2_x0_5_cifar", f"{own} cifar_shufflenet_v2('shufflenet_v2_x0_5') on {TV}",
         lambda: cifar_shufflenet_v2("shufflenet_v2_x0_5"), "out:conv5", 32)
    for n, h in (("vgg11_bn_cifar", 512), ("vgg13_bn_cifar_linear", 0)):
        vgg = n.removesuffix("_linear").removesuffix("_cifar")
        _add(n, f"{own} cifar_vgg('{vgg}', {h}) on {TV}", lambda v=vgg, h=h: cifar_vgg(v, h),
             "out:features", 32)
    _add("lenet5", f"{own} lenet5() (LeCun et al. 1998; tanh, average pooling)", lenet5, None, 32,
         channels=1, expect=61706)
    for d in (20, 32, 44, 56, 110):
        _add(f"resnet{d}_cifar", f"{own} cifar_resnet({d}) (He et al. 2015, option A)",
             lambda d=d: cifar_resnet(d), "out:layer3", 32)
    for depth, k, count in ((16, 4, 2748890), (28, 10, 36479194), (40, 2, 2243546),
                            (16, 8, 10961370), (22, 8, 17158106)):
        n = (depth - 4) // 6
        _add(f"wrn_{depth}_{k}", f"{own} wide_resnet(blocks={n}, k={k}, kernels=(3, 3))",
             lambda n=n, k=k: wide_resnet(n, k), "out:bn1", 32, expect=count)
    for name, n, kernels, count in (("wrn_40_2_b131", 6, (1, 3, 1), 1429082),
                                    ("wrn_40_2_b31", 6, (3, 1), 1211354),
                                    ("wrn_40_2_b13", 6, (1, 3), 1297370),
                                    ("wrn_40_2_b311", 6, (3, 1, 1), 1343066),
                                    ("wrn_28_2_b33", 4, (3, 3), 1467610),
                                    ("wrn_22_2_b313", 3, (3, 1, 3), 1145498)):
        _add(name, f"{own} wide_resnet(blocks={n}, k=2, kernels={kernels})",
             lambda n=n, ks=kernels: wide_resnet(n, 2, ks), "out:bn1", 32, expect=count)
    for genome, count in (("r64x3_m_d12x4_m_r128x3", 727066), ("d20x3_a_r72x2_m_d12x3", None)):
        _add(f"ae_cnn_{genome}", f"{own} ae_cnn('{genome}') (Sun et al. 2018)",
             lambda g=genome: ae_cnn(g), "out:units", 32, expect=count)
    _add("unet", f"{own} unet(bilinear=False)", lambda: unet(False), "in:outc", 64, 76, expect=31037633)
    _add("unet_bilinear", f"{own} unet(bilinear=True)", lambda: unet(True), "in:outc", 64, 76,
         expect=17262977)
    _add("se_inception_v2", f"{own} se_inception_v2() on {PM} BNInception, {POOL}",
         se_inception_v2, "method:features", 64, 224)


_register()


def lookup(spec: str):
    """NAME or NAME@SIZE -> (entry, size)."""
    name, _, size = spec.partition("@")
    if name not in REGISTRY:
        sys.exit(f"unknown variant {name!r}; see `oracle.py list`")
    e = REGISTRY[name]
    return e, int(size) if size else e.sizes[0]


# --------------------------------------------------------------------------
# Running
# --------------------------------------------------------------------------


def build(e: Entry):
    import torch

    torch.manual_seed(0)
    with no_init():
        net = e.build()
    net = net.float().eval()
    fill(net, e.gain)
    return net


def condition(e: Entry, size: int, net):
    """One eval pass that sets the BN statistics.  Returns (stats, logits, tap)."""
    import torch

    x = torch.from_numpy(input_array(e.shape(size)))
    cond, tap = Conditioner(net), Tap(net, e.feat)
    with torch.inference_mode():
        y = net(x)
    cond.remove()
    if tap.handle:
        tap.handle.remove()
    stats = OrderedDict()
    for name in bn_layers(net):              # state-dict order; not executed -> (0, 1)
        stats[name] = cond.stats.get(name, (np.float32(0), np.float32(1)))
    skipped = [n for n in stats if n not in cond.stats]
    return stats, y, tap, skipped


def b64(a) -> str:
    return base64.b64encode(np.ascontiguousarray(a, dtype="<f4").tobytes()).decode("ascii")


def make_fixture(e: Entry, size: int, f64: bool = True) -> dict:
    import torch

    net = build(e)
    tensors = [[k, list(v.shape)] for k, v in net.state_dict().items()]
    params = sum(p.numel() for p in net.parameters() if p.requires_grad)
    stats, y, tap, skipped = condition(e, size, net)
    if not isinstance(y, torch.Tensor):
        raise TypeError(f"output is {type(y)}")
    out = y.numpy()
    o64 = out.astype(np.float64)
    eps = sorted({m.eps for m in bn_layers(net).values()})
    fx = OrderedDict(
        variant=e.variant or e.name, oracle=e.oracle, input_shape=list(e.shape(size)),
        num_classes=out.shape[1], gain=e.gain, num_params=params, bn_eps=eps,
        output_shape=list(out.shape), output_std=shortest(o64.std()))
    if out.shape[0] == 2:
        fx["batch_diff_std"] = shortest((o64[0] - o64[1]).std())
    if f64:
        net64 = net.double()
        with torch.inference_mode():
            ref = net64(torch.from_numpy(input_array(e.shape(size))).double()).numpy()
        fx["f32_error"] = shortest(np.abs(o64 - ref).max())
    fx["logits"] = b64(out)
    if tap.first is not None:
        t = tap.first.numpy()
        t64 = t.astype(np.float64)
        fx["features"] = OrderedDict(at=tap.at, shape=list(t.shape), first=b64(t.reshape(-1)[:64]),
                                     mean=shortest(t64.mean()), std=shortest(t64.std()))
    if skipped:
        fx["bn_not_executed"] = skipped
    fx["bn"] = OrderedDict((k, [shortest(m), shortest(v)]) for k, (m, v) in stats.items())
    fx["tensors"] = tensors
    return fx


def dumps(obj) -> str:
    return json.dumps(obj, separators=(",", ":"), allow_nan=True) + "\n"


SUMMARY_HEAD = ["variant", "oracle", "params", "size", "batch", "output_std", "batch_diff_std",
                "f32_error", "bytes", "seconds"]


def job(args):
    name, size, out, f64 = args
    import warnings
    warnings.simplefilter("ignore")
    import torch
    torch.set_num_threads(1)
    t0 = time.time()
    e = REGISTRY[name]
    try:
        fx = make_fixture(e, size, f64)
        text = dumps(fx)
        path = Path(out) / f"{name}@{size}.json"
        path.write_text(text)
    except Exception as err:                                   # reported, not hidden
        return name, size, None, f"{type(err).__name__}: {err}"
    row = [name, e.oracle, fx["num_params"], size, fx["input_shape"][0], fx["output_std"],
           fx.get("batch_diff_std", ""), fx.get("f32_error", ""), len(text), round(time.time() - t0, 1)]
    note = []
    if not (math.isfinite(fx["output_std"]) and 1e-3 <= fx["output_std"] <= 1e4):
        note.append(f"ILL-CONDITIONED output_std={fx['output_std']}")
    if e.expect and e.expect != fx["num_params"]:
        note.append(f"PARAMS {fx['num_params']} != expected {e.expect}")
    return name, size, row, "; ".join(note)


def cmd_generate(a):
    import multiprocessing as mp

    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    work = []
    if a.only:
        for spec in a.only:
            e, size = lookup(spec)
            work += [(e.name, s) for s in ([size] if "@" in spec else e.sizes)]
    else:
        work = [(e.name, s) for e in REGISTRY.values() for s in e.sizes]
    rows, bad = {}, []
    summary = Path(a.summary) if a.summary else None
    if summary and summary.exists():
        for line in summary.read_text().splitlines()[1:]:
            f = line.split("\t")
            rows[(f[0], int(f[3]))] = f

    def write_summary():
        order = {(e.name, s): i for i, (e, s) in enumerate(
            (e, s) for e in REGISTRY.values() for s in e.sizes)}
        keys = sorted(rows, key=lambda k: order.get(k, 1 << 30))
        summary.write_text("\n".join("\t".join(map(str, r)) for r in
                                     [SUMMARY_HEAD] + [rows[k] for k in keys]) + "\n")

    tasks = [(n, s, str(out), not a.no_f64) for n, s in work]
    ctx = mp.get_context("spawn")
    with ctx.Pool(min(a.jobs, len(tasks)), maxtasksperchild=25) as pool:
        for name, size, row, note in pool.imap_unordered(job, tasks, chunksize=1):
            if row is None:
                bad.append(f"{name}@{size}")
                print(f"FAIL {name}@{size}: {note}", flush=True)
                continue
            rows[(name, size)] = row
            print(f"ok   {name}@{size} params={row[2]} std={row[5]:.4g} diff={row[6]} "
                  f"err={row[7]} {row[8]}B {row[9]}s {note}", flush=True)
            if summary:
                write_summary()
    print(f"{len(tasks) - len(bad)} fixtures written, {len(bad)} failed {bad}")
    return 1 if bad else 0


def cmd_list(a):
    for e in REGISTRY.values():
        print(f"{e.name}\t{','.join(map(str, e.sizes))}\t{e.oracle}")


def _save(path: str, tensors):
    import torch

    if path.endswith(".safetensors"):
        from safetensors.torch import save_file
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, path)
    elif path.endswith((".pth", ".pt")):
        sd = OrderedDict((k, v.clone()) for k, v in tensors.items())
        if hasattr(tensors, "_metadata"):            # as in a checkpoint saved by torch
            sd._metadata = tensors._metadata
        torch.save(sd, path)
    else:
        sys.exit("--out must end in .safetensors, .pth or .pt")


def cmd_state_dict(a):
    import torch

    torch.set_num_threads(1)
    e, size = lookup(a.name)
    net = build(e)
    condition(e, size, net)
    _save(a.out, net.state_dict())
    print(f"{a.out}: {e.name}@{size}, {len(net.state_dict())} tensors")


def cmd_input(a):
    import torch

    e, size = lookup(a.name)
    _save(a.out, {"input": torch.from_numpy(input_array(e.shape(size)))})
    print(f"{a.out}: input {list(e.shape(size))}")


def vectors():
    """Worked examples for checking another implementation of the formula."""
    res = []
    for key in ("conv1.weight", "input", "layer1.0.bn1.running_var"):
        seed = fnv1a64(key)
        items = []
        for i in (0, 1, 2):
            st = (seed + (i + 1) * GAMMA) & MASK64
            z = st
            z ^= z >> 30
            z = (z * MIX1) & MASK64
            z ^= z >> 27
            z = (z * MIX2) & MASK64
            z ^= z >> 31
            s = uniform(key, i + 1)[i]
            assert s == 2.0 * ((z >> 40) / 2.0 ** 24) - 1.0
            items.append(OrderedDict(i=i, state=f"{st:#018x}", z=f"{z:#018x}", z_shr_40=z >> 40,
                                     s=s, s_f32_bits=f"{np.float32(s).view(np.uint32):#010x}"))
        res.append(OrderedDict(key=key, seed=f"{seed:#018x}", elements=items))
    values = OrderedDict()

    def bits(a):
        return [{"value": shortest(v), "bits": f"{np.float32(v).view(np.uint32):#010x}"} for v in a]

    values["conv1.weight [64,3,7,7] gain 2, elements 0..2"] = bits(
        weight("conv1.weight", (64, 3, 7, 7), 2.0).reshape(-1)[:3])
    values["bn1.weight of a BatchNorm [64], elements 0..2"] = bits(
        tensor_for("bn1.weight", (64,), True, 2.0)[:3])
    values["bn1.bias [64], elements 0..2"] = bits(tensor_for("bn1.bias", (64,), True, 2.0)[:3])
    m, v = np.float32(0.25), np.float32(1.7)
    values["bn1.running_mean [64], m=0.25 v=1.7f32, elements 0..2"] = bits(
        bn_running_mean("bn1.running_mean", 64, m, v)[:3])
    values["bn1.running_var [64], m=0.25 v=1.7f32, elements 0..2"] = bits(
        bn_running_var("bn1.running_var", 64, v)[:3])
    values["input tensor [2,3,64,64], elements 0..2"] = bits(input_array((2, 3, 64, 64)).reshape(-1)[:3])
    return OrderedDict(generator=res, values=values)


def cmd_vectors(a):
    print(json.dumps(vectors(), indent=1))


def state_from_fixture(fx: dict) -> "OrderedDict[str, np.ndarray]":
    """All tensors from the fixture alone, the way another implementation has to."""
    out = OrderedDict()
    for key, shape in fx["tensors"]:
        prefix, _, leaf = key.rpartition(".")
        n = math.prod(shape)
        if leaf == "num_batches_tracked":
            out[key] = np.zeros((), dtype=np.int64)
        elif prefix in fx["bn"] and leaf in ("running_mean", "running_var"):
            m, v = (np.float32(t) for t in fx["bn"][prefix])
            out[key] = (bn_running_mean(key, n, m, v) if leaf == "running_mean"
                        else bn_running_var(key, n, v))
        else:
            out[key] = tensor_for(key, tuple(shape), prefix in fx["bn"], fx["gain"])
    return out


def cmd_verify(a):
    """Rebuild the weights from the JSON, run the oracle without hooks, compare."""
    import torch

    torch.set_num_threads(1)
    worst = 0.0
    for path in a.fixtures:
        fx = json.loads(Path(path).read_text())
        with no_init():
            net = lookup(Path(path).stem)[0].build().float().eval()
        state, slots = state_from_fixture(fx), net.state_dict()
        assert list(state) == list(slots)
        for k, slot in slots.items():
            assert tuple(slot.shape) == state[k].shape, k
            slot.copy_(torch.from_numpy(state[k]))
        with torch.inference_mode():
            y = net(torch.from_numpy(input_array(fx["input_shape"]))).numpy()
        ref = np.frombuffer(base64.b64decode(fx["logits"]), "<f4").reshape(fx["output_shape"])
        d = float(np.abs(y - ref).max())
        worst = max(worst, d)
        print(f"{path}: max |difference| {d:g}, output_std {fx['output_std']}", flush=True)
    return 0 if worst == 0 else 1


def sampled(n: int) -> "list[int]":
    """Up to 16 positions, evenly spread over n."""
    return sorted({k * (n - 1) // 15 for k in range(16)})


def loss_gradients(net, x):
    """The loss sum(logits * s("loss")) and its gradient for each parameter, by key."""
    import torch

    y = net(x)
    w = torch.from_numpy(uniform("loss", y.numel())).reshape(y.shape).to(y.dtype)
    loss = (y * w).sum()
    loss.backward()
    return loss.item(), OrderedDict((k, p.grad.detach().clone()) for k, p in net.named_parameters()
                                    if p.grad is not None)


def conditioned(e, size):
    net = build(e)
    condition(e, size, net)
    return net


def cmd_gradients(a):
    """In eval mode and double precision, at the weights of the parity fixture."""
    import torch

    torch.set_num_threads(2)
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    for spec in a.names:
        e, size = lookup(spec)
        x = torch.from_numpy(input_array(e.shape(size)))
        _, single = loss_gradients(conditioned(e, size), x)
        loss, exact = loss_gradients(conditioned(e, size).double(), x.double())
        worst = 0.0
        rows = []
        for key, g in exact.items():
            g = g.numpy().reshape(-1)
            largest = float(np.abs(g).max())
            error = float(np.abs(single[key].double().numpy().reshape(-1) - g).max())
            if largest > 0:
                worst = max(worst, error / largest)
            rows.append(OrderedDict(key=key, largest=shortest(largest),
                                    norm=shortest(np.sqrt((g * g).sum())),
                                    sampled=b64(g[sampled(g.size)])))
        fx = OrderedDict(parity=f"{e.name}@{size}", loss=shortest(loss), gradients=rows)
        (out / f"{e.name}@{size}.json").write_text(dumps(fx))
        print(f"{e.name}@{size}: {len(rows)} gradients, single precision is off by {worst:.1e} of the largest",
              flush=True)


# Networks of the parity fixtures, and the network of timm with the same keys.
PYRAMIDS = {
    "vgg11_bn": "vgg11_bn", "resnet18": "resnet18", "resnet50s": "resnet50s",
    "resnetblur18": "resnetblur18", "densenet121": "densenet121", "inception_v3@139": "inception_v3",
    "inception_v4@139": "inception_v4", "inception_resnet_v2@139": "inception_resnet_v2",
    "xception@96": "legacy_xception", "nasnet_a_large@96": "nasnetalarge",
    "se_resnet18": "legacy_seresnet18", "mobilenet_v1_timm": "mobilenetv1_100",
    "mobilenet_v2_timm": "mobilenetv2_100", "mnasnet_a1": "semnasnet_100",
    "mobilenet_v3_large_timm": "mobilenetv3_large_100",
    "mobilenet_v3_small_timm": "mobilenetv3_small_100",
    "efficientnet_lite0_timm": "efficientnet_lite0", "efficientnet_blur_b0": "efficientnet_blur_b0",
    "ghostnet_050": "ghostnet_050",
}


def features_only(fn, whole):
    """timm's network that returns its feature maps, with the tensors of the whole network."""
    import timm
    import torch

    with no_init():
        part = timm.create_model(fn, pretrained=False, features_only=True).float().eval()
    if fn.startswith("ghostnet"):
        # timm takes the stem's convolution without its BatchNorm and ReLU, unlike everywhere else.
        layers = part.return_layers
        part.return_layers = {"act1" if k == "conv_stem" else k: v for k, v in layers.items()}
        part.feature_info.info[0]["module"] = "act1"
    # Modules of an nn.Sequential are on the first floor there: features_0 for features.0.
    flat = {k.replace(".", "_", 1): v for k, v in whole.items()}
    with torch.no_grad():
        for key, t in part.state_dict().items():
            key = key.removeprefix("body.")
            t.copy_(torch.from_numpy(whole[key] if key in whole else flat[key]))
    return part


def cmd_pyramids(a):
    """The maps of features_only at the weights of the parity fixtures, the finest first."""
    import torch

    torch.set_num_threads(1)
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    for spec in a.names or PYRAMIDS:
        e, size = lookup(spec)
        fn = PYRAMIDS[spec]
        parity = Path(__file__).parents[1] / "fixtures/parity" / f"{e.name}@{size}.json"
        part = features_only(fn, state_from_fixture(json.loads(parity.read_text())))
        with torch.inference_mode():
            maps = part(torch.from_numpy(input_array(e.shape(size))))
        levels = []
        for info, t in zip(part.feature_info.get_dicts(), maps):
            t = t.numpy()
            t64 = t.astype(np.float64)
            levels.append(OrderedDict(
                module=info["module"], channels=info["num_chs"], stride=info["reduction"],
                map=OrderedDict(shape=list(t.shape), first=b64(t.reshape(-1)[:64]),
                                mean=shortest(t64.mean()), std=shortest(t64.std()))))
        fx = OrderedDict(parity=f"{e.name}@{size}", oracle=f"{TM} create_model('{fn}', features_only=True)",
                         levels=levels)
        (out / f"{e.name}@{size}.json").write_text(dumps(fx))
        print(f"{e.name}@{size}: {[(v['module'], v['map']['shape']) for v in levels]}", flush=True)


# Networks of the parity fixtures: the part up to the explained maps, their stride if they are not the
# features, and the part after them.
def _resnet_trunk(n, x):
    return n.layer2(n.layer1(n.maxpool(n.relu(n.bn1(n.conv1(x))))))


def _relu(x):
    import torch

    return torch.relu(x)


EXPLAINED = [
    ("resnet18@224", None, lambda n, x: n.layer4(n.layer3(_resnet_trunk(n, x))),
     lambda n, m: n.fc(n.avgpool(m).flatten(1))),
    ("resnet18@224", 8, _resnet_trunk, lambda n, m: n.fc(n.avgpool(n.layer4(n.layer3(m))).flatten(1))),
    ("mobilenet_v2@64", None, lambda n, x: n.features(x),
     lambda n, m: n.classifier(m.mean([2, 3]))),
    ("mobilenet_v2@64", 16, lambda n, x: n.features[:14](x),
     lambda n, m: n.classifier(n.features[14:](m).mean([2, 3]))),
    ("efficientnet_lite0_timm@64", None, lambda n, x: n.forward_features(x), lambda n, m: n.forward_head(m)),
    ("densenet121@64", None, lambda n, x: _relu(n.features(x)), lambda n, m: n.classifier(m.mean([2, 3]))),
    ("vgg11@64", None, lambda n, x: n.features(x), lambda n, m: n.classifier(n.avgpool(m).flatten(1))),
]


def heat_maps(net, x, trunk, head):
    """The class and its heat maps, before negative values are dropped, in the words of the papers."""
    import torch
    import torch.nn.functional as F

    with torch.no_grad():
        c = int(head(net, trunk(net, x))[0].argmax())
    A = trunk(net, x).detach().requires_grad_()
    y = head(net, A)[0, c]
    (g,) = torch.autograd.grad(y, A)
    A = A.detach()
    spatial = (2, 3)
    maps = OrderedDict()
    maps["grad-cam"] = (g.mean(spatial, keepdim=True) * A).sum(1)
    maps["hires-cam"] = (g * A).sum(1)
    maps["layer-cam"] = (g.relu() * A).sum(1)
    below = 2 * g**2 + A.sum(spatial, keepdim=True) * g**3
    alpha = g**2 / torch.where(below == 0, torch.ones_like(below), below)
    maps["grad-cam++"] = ((alpha * g.relu()).sum(spatial, keepdim=True) * A).sum(1)
    low, high = A.amin(spatial, keepdim=True), A.amax(spatial, keepdim=True)
    masks = F.interpolate((A - low) / (high - low).clamp_min(1e-30), x.shape[2:], mode="bilinear")
    with torch.no_grad():
        scores = torch.stack([head(net, trunk(net, x * m))[0, c] for m in masks[0].unsqueeze(1)])
    scores[(high == low).flatten()] = -torch.inf
    maps["score-cam"] = (scores.softmax(0).reshape(1, -1, 1, 1) * A).sum(1)
    total = torch.zeros_like(x)
    for step in range(32):
        part = (x * ((step + 0.5) / 32)).requires_grad_()
        total += torch.autograd.grad(head(net, trunk(net, part))[0, c], part)[0]
    # The map is large; the fixture keeps the means of 8x8 parts.
    maps["integrated-gradients"] = F.adaptive_avg_pool2d((total * x / 32).sum(1), 8)
    return c, maps


def cmd_explain(a):
    """In eval mode and double precision, at the weights of the parity fixtures."""
    import torch

    torch.set_num_threads(2)
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    for spec, stride, trunk, head in EXPLAINED:
        e, size = lookup(spec)
        x = torch.from_numpy(input_array(e.shape(size)))[:1].double()
        c, maps = heat_maps(conditioned(e, size).double(), x, trunk, head)
        rows = [OrderedDict(method=k, shape=list(m.shape[1:]), values=b64(m.float().numpy().reshape(-1)))
                for k, m in maps.items()]
        fx = OrderedDict(parity=spec, stride=stride, **{"class": c}, maps=rows)
        name = spec if stride is None else f"{spec}-{stride}"
        (out / f"{name}.json").write_text(dumps(fx))
        print(f"{name}: class {c}", flush=True)


def cmd_selfcheck(a):
    """The table-driven BN-Inception without SE equals the reference, bit for bit."""
    import torch

    torch.set_num_threads(1)
    e = REGISTRY["inception_v2"]
    ref, own = build(e), Entry("x", "", lambda: se_inception_v2(False), None, (64,))
    own_net = build(own)
    s1, y1, _, _ = condition(e, 64, ref)
    s2, y2, _, _ = condition(own, 64, own_net)
    assert list(ref.state_dict()) == list(own_net.state_dict())
    assert s1 == s2 and torch.equal(y1, y2)
    print("ok: se_inception_v2(with_se=False) == BNInception")


# --------------------------------------------------------------------------
# Preprocessing goldens
# --------------------------------------------------------------------------

RESIZES = {"r256_bilinear_c224": (256, "BILINEAR", 224), "r232_bilinear_c224": (232, "BILINEAR", 224),
           "r342_bilinear_c299": (342, "BILINEAR", 299), "r256_bicubic_c224": (256, "BICUBIC", 224)}
NORMS = {"imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
         "half": ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])}


def derive_images(src: Path, dst: Path):
    """Copy the three photographs and derive the greyscale/RGBA/narrow/PNG ones."""
    import shutil
    from PIL import Image

    dst.mkdir(parents=True, exist_ok=True)
    for f in ("chelsea.png", "coffee.png", "rocket.jpg"):
        shutil.copyfile(src / f, dst / f)
    chelsea = Image.open(dst / "chelsea.png").convert("RGB")
    coffee = Image.open(dst / "coffee.png").convert("RGB")
    rocket = Image.open(dst / "rocket.jpg").convert("RGB")
    chelsea.convert("L").save(dst / "chelsea_grey.png", optimize=True)
    w, h = coffee.size
    yy, xx = np.mgrid[0:h, 0:w]
    alpha = ((xx * 255) // (w - 1) + (yy * 255) // (h - 1)) // 2      # diagonal ramp 0..255
    rgba = np.dstack([np.asarray(coffee), alpha.astype(np.uint8)])
    Image.fromarray(rgba, "RGBA").save(dst / "coffee_rgba.png", optimize=True)
    coffee.crop((251, 0, 350, 400)).save(dst / "coffee_narrow.png", optimize=True)   # 99 x 400
    rocket.save(dst / "rocket_decoded.png", optimize=True)           # the JPEG as Pillow decodes it
    return ["chelsea.png", "coffee.png", "rocket.jpg", "rocket_decoded.png", "chelsea_grey.png",
            "coffee_rgba.png", "coffee_narrow.png"]


def cmd_preprocess(a):
    import PIL
    import torchvision
    from PIL import Image
    from torchvision import transforms as T
    from torchvision.transforms import InterpolationMode as IM
    from torchvision.transforms import functional as TF

    out = Path(a.out)
    if a.data:
        src = Path(a.data)
    else:
        import skimage
        src = Path(skimage.__file__).parent / "data"
    names = derive_images(src, out / "images")
    for f in names:
        path = out / "images" / f
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        img = Image.open(path)
        mode, size = img.mode, img.size
        rgb = img.convert("RGB")                   # before resizing; drops alpha, repeats grey
        for rname, (resize, interp, crop) in RESIZES.items():
            t = T.Compose([T.Resize(resize, interpolation=IM[interp]), T.CenterCrop(crop)])
            resized = T.Resize(resize, interpolation=IM[interp])(rgb)
            u8 = t(rgb)
            x01 = TF.to_tensor(u8)
            for nname, (mean, std) in NORMS.items():
                x = TF.normalize(x01, mean, std).numpy()
                n = x.shape[1]
                idx = [k * (n - 1) // 15 for k in range(16)]
                x64 = x.astype(np.float64)
                obj = OrderedDict(
                    image=f, sha256=sha, mode=mode, width=size[0], height=size[1],
                    resize=resize, interpolation=interp.lower(), antialias=True, crop=crop,
                    resized_width=resized.size[0], resized_height=resized.size[1],
                    norm_mean=mean, norm_std=std,
                    tool=f"torchvision {torchvision.__version__.split('+')[0]} transforms on a PIL image, "
                         f"Pillow {PIL.__version__}",
                    shape=list(x.shape), crop_rgb8_sha256=hashlib.sha256(u8.tobytes()).hexdigest(),
                    grid_index=idx, grid_shape=[3, 16, 16], grid=b64(x[:, idx][:, :, idx]),
                    mean=shortest(x64.mean()), std=shortest(x64.std()),
                    min=shortest(x.min()), max=shortest(x.max()))
                stem = f.replace(".", "_")
                (out / f"{stem}__{rname}_{nname}.json").write_text(dumps(obj))
    print(f"{len(names)} images x {len(RESIZES) * len(NORMS)} recipes -> {out}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="cmd", required=True)
    g = sub.add_parser("generate", help="write fixtures")
    g.add_argument("--only", nargs="+", metavar="NAME", help="NAME (all its sizes) or NAME@SIZE")
    g.add_argument("--out", required=True)
    g.add_argument("--summary", help="TSV to create or update")
    g.add_argument("--jobs", type=int, default=1)
    g.add_argument("--no-f64", action="store_true", help="skip the float64 error estimate")
    sub.add_parser("list", help="variants, sizes, oracles")
    s = sub.add_parser("state-dict", help="write the formula weights as a checkpoint")
    s.add_argument("name")
    s.add_argument("--out", required=True)
    i = sub.add_parser("input", help="write the formula input")
    i.add_argument("name")
    i.add_argument("--out", required=True)
    q = sub.add_parser("preprocess", help="write preprocessing goldens")
    q.add_argument("--out", required=True)
    q.add_argument("--data", help="directory with chelsea.png, coffee.png, rocket.jpg")
    v = sub.add_parser("verify", help="rerun fixtures from their JSON alone")
    v.add_argument("fixtures", nargs="+")
    x = sub.add_parser("explain", help="write fixtures of heat maps")
    x.add_argument("--out", required=True)
    d = sub.add_parser("gradients", help="write gradient fixtures")
    d.add_argument("names", nargs="+", metavar="NAME")
    d.add_argument("--out", required=True)
    y = sub.add_parser("pyramids", help="write fixtures of timm's feature maps")
    y.add_argument("names", nargs="*", metavar="NAME")
    y.add_argument("--out", required=True)
    sub.add_parser("vectors", help="print formula test vectors")
    sub.add_parser("selfcheck", help="check the table-driven BN-Inception")
    a = p.parse_args()
    fn = {"generate": cmd_generate, "list": cmd_list, "state-dict": cmd_state_dict, "input": cmd_input,
          "preprocess": cmd_preprocess, "verify": cmd_verify, "gradients": cmd_gradients, "explain": cmd_explain,
          "pyramids": cmd_pyramids, "vectors": cmd_vectors, "selfcheck": cmd_selfcheck}[a.cmd]
    sys.exit(fn(a) or 0)


if __name__ == "__main__":
    main()
