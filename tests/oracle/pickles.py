"""Writes tests/fixtures/pickles/: checkpoints with whatever people leave beside their weights.

Each has the tensors `w` (0, 1, ... 5, 2 by 3) and `b` (7), wherever they are in it.
"""

import argparse
import collections
import enum
import io
import pathlib
import pickle
import sys
import types

import numpy as np
import torch

folder = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "pickles"
folder.mkdir(parents=True, exist_ok=True)
W, B = torch.arange(6.0).reshape(2, 3), torch.tensor([7.0])
plain = collections.OrderedDict(w=W, b=B)


def foreign(name, base, **members):
    """A class of a module that no reader has."""
    module = sys.modules.setdefault("foreign", types.ModuleType("foreign"))
    kind = type(name, (base,), {"__module__": "foreign", **members})
    setattr(module, name, kind)
    return kind


EasyDict = foreign("EasyDict", dict)
Node = foreign("Node", dict)
Config = foreign("Config", object)
Color = enum.Enum("Color", "RED")
Color.__module__ = "foreign"
sys.modules["foreign"].Color = Color
Point = collections.namedtuple("Point", "step params")
Point.__module__ = "foreign"
sys.modules["foreign"].Point = Point
node = Node(depth=50)
node.__dict__["frozen"] = True
config = Config()
config.path, config.rates = pathlib.PurePosixPath("/data"), [0.1, 0.2]
config.itself = config
default = collections.defaultdict(list)
default["loss"].append(0.5)
linear = torch.nn.Linear(3, 2)
optimizer = torch.optim.Adam(linear.parameters())
linear(torch.ones(1, 3)).sum().backward()
optimizer.step()

beside = {
    "easydict": EasyDict(lr=0.1, wd=0),
    "node": node,
    "defaultdict": default,
    "deque": collections.deque([1, 2], maxlen=3),
    "counter": collections.Counter("aab"),
    "namespace": argparse.Namespace(model="resnet18", lr=0.1),
    "object": config,
    "enum": Color.RED,
    "scalar": np.float64(0.5),
    "array": np.zeros((3, 2)),
    "large_array": np.zeros(500, np.float32),
    "set": {1, 2},
    "frozenset": frozenset([1]),
    "complex": torch.zeros(2, dtype=torch.complex64),
    "optimizer": optimizer.state_dict(),
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "generator": torch.Generator().get_state(),
    "long": 10**30,
    "bytes": b"\x00\xff",
}


def save(name, value, **options):
    torch.save(value, folder / f"{name}.pth", **options)


save("beside", {"state_dict": plain, **beside})
save("beside_legacy", {"state_dict": plain, **beside}, _use_new_zipfile_serialization=False)
save("beside_protocol4", {"state_dict": plain, **beside}, pickle_protocol=4)
save("subclass", EasyDict(w=W, b=B))
save("namedtuple", {"state": Point(1, plain)})
save("in_a_list", [3, {"model": plain}])
save("in_an_object", types.SimpleNamespace(params=plain))
save("numpy", {"w": W.numpy(), "b": B.numpy()})
save("numpy_protocol5", {"w": np.asfortranarray(W.numpy()), "b": B.numpy()}, pickle_protocol=5)
(folder / "numpy.pkl").write_bytes(pickle.dumps({"w": W.numpy(), "b": B.numpy()}))
buffer = io.BytesIO()
torch.save({"w": torch.nn.Parameter(W), "b": torch.nn.Parameter(B)}, buffer)
(folder / "parameters.pth").write_bytes(buffer.getvalue())
save("names", {"state_dict": plain, "class_to_idx": {"dog": 1, "cat": 0}, "arch": "resnet18"})


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.b = torch.nn.Parameter(W), torch.nn.Parameter(B)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w.t() + self.b


torch.jit.script(Net()).save(folder / "script.pt")
torch.export.save(torch.export.export(Net(), (torch.ones(1, 3),)), folder / "exported.pt2")
