"""Host and adapters run where nothing of this package is: Python 3.8, the standard library, numpy and a runtime."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import ibl_dask
from ibl_dask.pose.engine import ENGINE_KINDS
from ibl_dask.pose.engines import adapter_file, exporter_file, option_names
from ibl_dask.pose.host import host_main, process

POSE = Path(ibl_dask.__file__).parent / "pose"
EXPORTERS = [exporter_file(kind) for kind in ENGINE_KINDS if exporter_file(kind).is_file()]
ALONE = [POSE / "host" / "host_main.py", *(adapter_file(kind) for kind in ENGINE_KINDS), *EXPORTERS]
SMOOTHERS = sorted((POSE / "smoothers").glob("*_adapter.py"))
OF_ENGINES = {"deeplabcut", "eks", "lightning_pose", "numpy", "onnx", "onnxruntime", "tensorrt", "torch", "torchvision"}
ALLOWED = {*OF_ENGINES, *sys.stdlib_module_names} - {"tomllib"}


@pytest.mark.parametrize("path", [*ALONE, *SMOOTHERS], ids=lambda path: path.stem)
def test_a_file_stands_alone(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "." * node.level]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= ALLOWED


def test_no_adapter_is_left_out():
    assert {path.name for path in (POSE / "engines").glob("*_adapter.py")} == {
        adapter_file(kind).name for kind in ENGINE_KINDS
    }
    assert {path.name for path in (POSE / "engines").glob("*_onnx.py")} == {path.name for path in EXPORTERS}
    for kind in set(ENGINE_KINDS) - {"iblvideo"}:  # which takes whole videos
        assert "batch" in option_names(kind)


def test_both_ends_speak_one_protocol():
    assert host_main.PROTOCOL == process.PROTOCOL
