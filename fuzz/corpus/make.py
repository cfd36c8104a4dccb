#!/usr/bin/env python3
"""Writes the files that fuzzing begins with, small ones of every kind.

    pip install h5py numpy onnx onnxscript pillow safetensors torch && python make.py
"""
import json
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import onnx
import torch
from onnx import helper
from PIL import Image
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "../../tests/fixtures/checkpoints"))
from make import save_tar  # noqa: E402

warnings.filterwarnings("ignore")
torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.fc(torch.cat([x[:, :2], x[:, 2:]], 1).mean((2, 3)))


class Thing:
    """Something of somebody's own."""


def pth(folder, net):
    state = {key: value.detach() for key, value in net.state_dict().items()}
    floats = {key: value for key, value in state.items() if value.is_floating_point()}
    thing = Thing()
    thing.weight = torch.zeros(3)
    qint = torch.quantize_per_tensor(torch.randn(4, 4), 0.1, 0, torch.qint8)
    quantised = {"fc.weight": qint, "fc.scale": torch.tensor(0.1), "fc.zero_point": torch.tensor(0)}
    optimizer = torch.optim.Adam(net.parameters())
    optimizer.step()
    for name, value in {
        "plain": state,
        "half": {"state_dict": {f"module.{key}": value.half() for key, value in floats.items()}},
        "module": net,
        "training": {"epoch": 3, "model": state, "optimizer": optimizer.state_dict(),
                     "best": np.float64(0.5)},
        "strided": {"w": torch.arange(24.0).reshape(4, 6).T, "part": torch.arange(24.0)[3:9:2]},
        "quantised": quantised,
        "int8": {"fc.weight": torch.ones(4, 4, dtype=torch.int8), "fc.scale": torch.tensor(0.1)},
        "sparse": {"w": torch.eye(3).to_sparse()},
        "objects": {"state_dict": state, "thing": thing},
        "list": [state["fc.weight"]],
        "numbers": {"epoch": 3},
    }.items():
        torch.save(value, folder / f"{name}.pth")
    for name, value in {"legacy": state, "quantised_legacy": quantised}.items():
        torch.save(value, folder / f"{name}.pth", _use_new_zipfile_serialization=False)
    save_tar(floats, folder / "tar.pth")
    torch.jit.script(net).save(folder / "torchscript.pth")


def safetensors(folder, net):
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    save_file(state, folder / "plain.safetensors", {"format": "pt"})
    save_file({key: value.half() for key, value in state.items()}, folder / "half.safetensors")
    save_file({"w": torch.ones(2, 2, dtype=torch.int8)}, folder / "int8.safetensors")
    save_file({"w": torch.ones(2).to(torch.float8_e4m3fn)}, folder / "float8.safetensors")


def graphs(folder, net):
    x = torch.zeros(1, 3, 8, 8)
    options = dict(input_names=["input"], output_names=["logits"])
    for name, more in {
        "folded": dict(dynamo=False, opset_version=13),
        "unfolded": dict(dynamo=False, opset_version=9, do_constant_folding=False,
                         training=torch.onnx.TrainingMode.PRESERVE),
        "dynamo": dict(dynamo=True, opset_version=18, external_data=False, verbose=False),
    }.items():
        path = folder / f"{name}.onnx"
        torch.onnx.export(net, (x,), str(path), **options, **more)
        model = onnx.load(path)
        del model.graph.value_info[:]
        for node in model.graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
        onnx.save(model, path)
    model = onnx.load(folder / "folded.onnx")
    onnx.save(model, folder / "external.onnx", save_as_external_data=True, location="gone.data",
              size_threshold=0)
    (folder / "gone.data").unlink()
    scale, zero, weight = (helper.make_tensor(name, kind, dims, values) for name, kind, dims, values in [
        ("s", 1, [], [0.1]), ("z", 3, [], [0]), ("w", 3, [2, 3, 1, 1], [1] * 6)])
    image, result = (helper.make_tensor_value_info(name, 1, [1, c, 4, 4])
                     for name, c in [("x", 3), ("y", 2)])
    ends = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"])]
    for name, nodes in {
        "qdq": [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"]),
                helper.make_node("Conv", ["x", "v"], ["y"])],
        "qoperator": [ends[0], helper.make_node(
            "QLinearConv", ["q", "s", "z", "w", "s", "z", "s", "z"], ["r"]), ends[1]],
    }.items():
        graph = helper.make_graph(nodes, name, [image], [result], [scale, zero, weight])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]),
                  folder / f"{name}.onnx")


def cbor(value):
    """A value in CBOR, as records describe themselves in it."""
    def head(kind, number):
        if number < 24:
            return bytes([kind << 5 | number])
        width = next(width for width in (1, 2, 4, 8) if number < 1 << 8 * width)
        return bytes([kind << 5 | 23 + width.bit_length()]) + number.to_bytes(width, "big")

    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    return head(0, value)


def records(folder):
    """Burn's own files with a card, which is the embedded record's without its classes' names."""
    [embedded] = (HERE / "../../assets/weights").glob("*.bpk")
    text = embedded.read_bytes()
    text = text[text.index(b'{"variant"'):].decode(errors="ignore")
    card, _ = json.JSONDecoder().raw_decode(text)
    card["labels"] = []
    for name, dtype, width, metadata in [("single", "F32", 4, {"zoo.card": json.dumps(card)}),
                                         ("half", "F16", 2, {"zoo.card": json.dumps(card)}),
                                         ("no_card", "F32", 4, {})]:
        tensor = {"dtype": dtype, "shape": [3, 5]}
        tensors = {key: {**tensor, "data_offsets": [start, start + 15 * width]}
                   for key, start in [("v.weight", 0), ("w.weight", 256)]}
        described = cbor({"tensors": tensors, "metadata": metadata})
        content = b"NRUB" + struct.pack("<HI", 1, len(described)) + described
        content += bytes(-len(content) % 256) + bytes(256 + 15 * width)
        (folder / f"{name}.bpk").write_bytes(content)


def keras(folder):
    kernel, bias = np.ones([3, 3, 3, 4], "float32"), np.zeros([4], "float32")

    def published(file):
        file.attrs["layer_names"], file.attrs["backend"] = [b"conv1"], b"tensorflow"
        layer = file.create_group("conv1")
        layer.attrs["weight_names"] = [b"conv1/kernel:0", b"conv1/bias:0"]
        layer["conv1/kernel:0"], layer["conv1/bias:0"] = kernel, bias

    def numbered(file, **options):
        weights = file.create_group("layers/conv2d/vars")
        weights.attrs["name"] = "conv1"
        weights.create_dataset("0", data=kernel, **options)
        weights.create_dataset("1", data=bias)

    for name, write, options in [
        ("published.h5", published, {}),
        ("latest.h5", published, {"libver": "latest"}),
        ("numbered.weights.h5", numbered, {}),
        ("packed.weights.h5", lambda file: numbered(file, chunks=(3, 3, 1, 4), compression="gzip"), {}),
    ]:
        with h5py.File(folder / name, "w", **options) as file:
            write(file)
    layer = {"class_name": "Conv2D", "config": {"name": "conv1"}}
    with zipfile.ZipFile(folder / "archive.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [layer]}}))
        archive.write(folder / "numbered.weights.h5", "model.weights.h5")


def images(folder):
    pixels = (np.add.outer(np.arange(12), np.arange(16))[..., None] * [7, 5, 3] % 256).astype("uint8")
    image = Image.fromarray(pixels)
    for form in ["png", "jpeg", "gif", "webp", "bmp", "tiff"]:
        image.save(folder / f"rgb.{form}")
    image.convert("L").save(folder / "grey.png")
    image.convert("CMYK").save(folder / "cmyk.jpeg")
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(folder / "turned.jpeg", exif=turned)
    image.save(folder / "lossless.webp", lossless=True)
    image.save(folder / "deflate.tiff", compression="tiff_deflate")
    image.save(folder / "progressive.jpeg", progressive=True)
    image.save(folder / "restarts.jpeg", restart_marker_blocks=1)
    image.save(folder / "wide.jpeg", subsampling="4:4:4", keep_rgb=True)
    image.convert("L").save(folder / "grey.jpeg", progressive=True)


def main():
    net = Net()
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    net.eval()
    pth(HERE / "pth", net)
    safetensors(HERE / "safetensors", net)
    graphs(HERE / "onnx", net)
    records(HERE / "record")
    keras(HERE / "keras")
    images(HERE / "image")


if __name__ == "__main__":
    main()
