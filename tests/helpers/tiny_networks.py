"""Write networks whose output is known: `python tiny_networks.py FOLDER`, in an environment with numpy and onnx."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def network(nodes, given, returned, constants=(), metadata=None, more_inputs=(), kind=TensorProto.FLOAT, rank=4):
    def value(name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes,
        "tiny",
        [value(*given, kind), *(value(*one) for one in more_inputs)],
        [value(name, [None] * rank) for name in returned],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, text in (metadata or {}).items():
        model.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(model)
    return model


PICK = np.array([[1, 0, 0], [0, 1, 0]], np.float32).reshape(2, 3, 1, 1)
"""A map of the first colour, and one of the second."""


def pick(given, returned="maps"):
    return helper.make_node("Conv", [given, "pick"], [returned])


def levels(given):
    """Return nodes that give mean, maximum and maximum of each map as the points of a frame. (frame, map, 3)"""
    return [
        helper.make_node("ReduceMean", [given], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMax", [given], ["maximum"], axes=[2, 3], keepdims=0),
        *(helper.make_node("Unsqueeze", [name, "second"], [f"{name}_"]) for name in ("mean", "maximum")),
        helper.make_node("Concat", ["mean_", "maximum_", "maximum_"], ["points"], axis=2),
    ]


def networks():
    conv = ("pick", PICK)
    second = ("second", np.array([2], np.int64))
    shape = ("x", ["n", 3, 24, 32])
    yield "points", network([pick("x"), *levels("maps")], shape, ["points"], [conv, second], rank=3)
    ends = [
        (f"{name}{at}", np.array([value], np.int64))
        for at in range(3)
        for name, value in (("from", at), ("to", (-2, -1, 1000)[at]))
    ]
    yield (
        "sequence",
        network(
            [
                *(helper.make_node("Slice", ["x", f"from{at}", f"to{at}", "first"], [f"x{at}"]) for at in range(3)),
                helper.make_node("Mean", ["x0", "x1", "x2"], ["around"]),
                pick("around"),
                *levels("maps"),
            ],
            shape,
            ["points"],
            [conv, second, ("first", np.array([0], np.int64)), *ends],
            {"ibl_dask": json.dumps({"options": {"output": "points", "context": 1}})},
            rank=3,
        ),
    )
    yield "colours", network([pick("x")], ("x", ["n", 3, "h", "w"]), ["maps"], [conv])
    yield "fixed_batch", network([pick("x")], ("x", [4, 3, 24, 32]), ["maps"], [conv])
    yield (
        "strided",
        network(
            [helper.make_node("AveragePool", ["x"], ["maps"], kernel_shape=[4, 4], strides=[4, 4])],
            ("x", ["n", 1, 48, 64]),
            ["maps"],
        ),
    )
    yield (
        "last",
        network(
            [
                helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]),
                pick("first", "two"),
                helper.make_node("Transpose", ["two"], ["maps"], perm=[0, 2, 3, 1]),
            ],
            ("x", ["n", 24, 32, 3]),
            ["maps"],
            [conv],
        ),
    )
    yield (
        "context",
        network(
            [helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0), pick("mean")],
            ("x", ["n", 5, 3, 24, 32]),
            ["maps"],
            [conv],
        ),
    )
    yield (
        "offsets",
        network(
            [pick("x"), helper.make_node("Concat", ["maps", "maps"], ["moves"], axis=1)],
            ("x", ["n", 3, "h", "w"]),
            ["maps", "moves"],
            [conv],
        ),
    )
    yield (
        "described",
        network(
            [pick("x")],
            ("x", ["n", 3, 24, 32]),
            ["maps"],
            [conv],
            {"ibl_dask": json.dumps({"keypoints": ["nose", "tail"], "options": {"refine": "none"}})},
        ),
    )
    for name, kind in (
        ("whole_numbers", TensorProto.UINT8),
        ("half", TensorProto.FLOAT16),
        ("long", TensorProto.INT64),
    ):
        yield (
            name,
            network(
                [helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT), pick("real")],
                ("x", ["n", 3, 24, 32]),
                ["maps"],
                [conv],
                kind=kind,
            ),
        )
    yield (
        "two_inputs",
        network([pick("x")], ("x", ["n", 3, 24, 32]), ["maps"], [conv], more_inputs=[("box", ["n", 4, 1, 1])]),
    )


def main() -> None:
    for name, model in networks():
        onnx.save(model, str(Path(sys.argv[1]) / f"{name}.onnx"))


if __name__ == "__main__":
    main()
