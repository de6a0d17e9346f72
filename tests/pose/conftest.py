"""The environment of a pose engine, and networks in ONNX: one that was trained, and tiny ones whose output is known."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from needs import DEEPLABCUT, POSE, PUPIL_WHEEL

HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.fixture(scope="session")
def pose_python() -> str:
    """Return the Python of an environment with onnxruntime."""
    return POSE


@pytest.fixture(scope="session")
def pupil_weights(pose_python) -> Path:
    """Return the trained network in ONNX, written once per user, version of the program and package."""
    program = HELPERS / "pupil_network.py"
    digest = hashlib.sha256(program.read_bytes() + PUPIL_WHEEL.read_bytes()).hexdigest()[:16]
    path = Path(pose_python).parents[1] / f"pupil-{digest}.onnx"
    if not path.exists():
        descriptor, part = tempfile.mkstemp(suffix=".onnx", dir=path.parent)
        os.close(descriptor)
        subprocess.run([pose_python, str(program), str(PUPIL_WHEEL), part], check=True)
        Path(part).replace(path)
    return path


@pytest.fixture(scope="session")
def tiny_networks(pose_python, tmp_path_factory) -> Path:
    """Return a folder of networks; see `tiny_networks.py`."""
    folder = tmp_path_factory.mktemp("networks")
    subprocess.run([pose_python, str(HELPERS / "tiny_networks.py"), str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def deeplabcut_python() -> str:
    """Return the Python of an environment with DeepLabCut."""
    return DEEPLABCUT


@pytest.fixture(scope="session")
def deeplabcut_project(deeplabcut_python, tmp_path_factory) -> Path:
    """Return a project with a small random network; see `deeplabcut_project.py`."""
    folder = tmp_path_factory.mktemp("deeplabcut") / "project"
    subprocess.run([deeplabcut_python, str(HELPERS / "deeplabcut_project.py"), "make", str(folder)], check=True)
    return folder
