"""Adapters of engines: one self-contained file each, loaded by path in the environment of its runtime.

An adapter imports the standard library, numpy and its runtime, runs on Python 3.8 and later with numpy 1 or 2, and has
one function ::

    load(weights, options, keypoints, device) -> adapter

with the path of the staged weights or None, the options of the profile, the expected names of the keypoints (or none),
and `cpu`, `cuda` or `cuda:N`. The adapter has `info()`, a mapping with the fields of `EngineInfo`, and
`predict(frames, before, after)`, as of `Engine`; the frames are read-only. An error that it can explain has the
attributes `category` (one of `ibl_dask.errors.CATEGORIES`), `expected`, `got` and `do` beside its message. `OPTIONS`
describes the options by name.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path


def adapter_file(kind: str) -> Path:
    """Return the file of the adapter of a kind of engine."""
    return Path(__file__).with_name(f"{kind}_adapter.py")


def exporter_file(kind: str) -> Path:
    """Return the file that exports networks of a kind of engine to ONNX; few have one.

    It is loaded like an adapter. `export(adapter, weights, options)`, with the module of the adapter, returns a
    description and the content of the file.
    """
    return Path(__file__).with_name(f"{kind}_onnx.py")


def option_names(kind: str) -> tuple[str, ...]:
    """Return the names of the options of a kind of engine."""
    return tuple(import_module(f"{__name__}.{kind}_adapter").OPTIONS)
