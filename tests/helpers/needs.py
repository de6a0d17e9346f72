"""What some tests need besides the installed package, and how to get it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from browser_program import browser_program
from slurm_machine import lacking

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("IBL_DASK_TEST_DATA", ROOT.parent / "shared" / "data"))
CONTRACT = Path(os.environ.get("IBL_DASK_ALYX_CONTRACT", DATA.parent / "alyx-contract"))
PEER = os.environ.get("IBL_DASK_PEER_PYTHON", "")
MOVEMENT = os.environ.get("IBL_DASK_MOVEMENT_PYTHON", "")
POSE = os.environ.get("IBL_DASK_POSE_PYTHON", "")
DEEPLABCUT = os.environ.get("IBL_DASK_DEEPLABCUT_PYTHON", "")
LIGHTNING_POSE = os.environ.get("IBL_DASK_LIGHTNING_POSE_PYTHON", "")
PUPIL_WHEEL = Path(POSE).parents[1] / "wheels" / "mouse_pupil_analysis-0.3.0-py3-none-any.whl" if POSE else Path()
"""Package that holds a trained network, beside the environment."""


@dataclass(frozen=True, slots=True)
class Need:
    """A thing that may be missing on a machine."""

    mark: str
    """Marker of the tests that need it; `pytest -m MARK` runs them alone."""
    fixtures: frozenset[str]
    """A test that asks for one of these fixtures needs it."""
    missing: Callable[[], str]
    """Return how to get it where it is missing; empty where it is there."""

    def is_needed_by(self, item: pytest.Item) -> bool:
        """Return whether a test needs it."""
        return item.get_closest_marker(self.mark) is not None or bool(
            self.fixtures.intersection(getattr(item, "fixturenames", ()))
        )


def _missing_reference() -> str:
    if PEER:
        return ""
    return (
        "the reference is not installed: pip install ibllib==4.1.0 in an environment of its own, and name its python "
        "in IBL_DASK_PEER_PYTHON"
    )


def _missing_recordings() -> str:
    if DATA.is_dir():
        return ""
    return f"no real recordings in {DATA}: name the folder that holds them in IBL_DASK_TEST_DATA"


def _missing_pose() -> str:
    if POSE and PUPIL_WHEEL.is_file():
        return ""
    return (
        "no environment of a pose engine: pip install onnxruntime onnx numpy in an environment of its own, pip "
        "download --no-deps mouse-pupil-analysis==0.3.0 -d wheels in its folder, and name its python in "
        "IBL_DASK_POSE_PYTHON"
    )


def _missing_deeplabcut() -> str:
    if DEEPLABCUT:
        return ""
    return "no environment of DeepLabCut: `.ci/run pose` makes it; name its python in IBL_DASK_DEEPLABCUT_PYTHON"


def _missing_lightning_pose() -> str:
    if LIGHTNING_POSE:
        return ""
    return (
        "no environment of Lightning Pose: `.ci/run pose` makes it; name its python in IBL_DASK_LIGHTNING_POSE_PYTHON"
    )


def _missing_movement() -> str:
    if MOVEMENT:
        return ""
    return (
        "movement is not installed: pip install movement in an environment of its own, and name its python in "
        "IBL_DASK_MOVEMENT_PYTHON"
    )


def _missing_contract() -> str:
    if CONTRACT.is_dir():
        return ""
    return f"no recorded exchanges with Alyx in {CONTRACT}: name the folder that holds them in IBL_DASK_ALYX_CONTRACT"


def _missing_slurm() -> str:
    form = os.environ.get("IBL_DASK_SLURM", "")
    if form == "none":
        return "no Slurm: IBL_DASK_SLURM=none leaves it out"
    if form:
        return ""  # it has to be there: its tests fail otherwise
    reason = lacking()
    return f"no Slurm can be started: {reason}" if reason else ""


def _missing_browser() -> str:
    if os.environ.get("IBL_DASK_BROWSER") == "none":
        return "no browser: IBL_DASK_BROWSER=none leaves it out"
    return "" if browser_program() else "no browser to look at pages with: apt-get install chromium"


def _missing_time() -> str:
    if os.environ.get("IBL_DASK_FAULTS"):
        return ""
    return "injected faults at length: set IBL_DASK_FAULTS=1, as `.ci/run chaos` does"


def _missing_time_for_commands() -> str:
    if os.environ.get("IBL_DASK_COMMANDS"):
        return ""
    return "commands of the documents, which take a minute: set IBL_DASK_COMMANDS=1, as `.ci/run docs` does"


def _missing_time_for_notebooks() -> str:
    if os.environ.get("IBL_DASK_NOTEBOOKS"):
        return ""
    return "all notebooks but the first, which take a minute: set IBL_DASK_NOTEBOOKS=1, as `.ci/run` does"


NEEDS = (
    Need("peer", frozenset({"reference", "reference_without_asserts"}), _missing_reference),
    Need("recordings", frozenset({"data_folder"}), _missing_recordings),
    Need("pose", frozenset({"pose_python", "pupil_weights"}), _missing_pose),
    Need("lightning_pose", frozenset({"lightning_pose_python"}), _missing_lightning_pose),
    Need("movement", frozenset(), _missing_movement),
    Need("deeplabcut", frozenset({"deeplabcut_python", "deeplabcut_project"}), _missing_deeplabcut),
    Need("contract", frozenset({"alyx_contract"}), _missing_contract),
    Need("browser", frozenset({"browser"}), _missing_browser),
    Need("faults", frozenset(), _missing_time),
    Need("commands", frozenset(), _missing_time_for_commands),
    Need("notebooks", frozenset(), _missing_time_for_notebooks),
    Need("slurm", frozenset({"slurm"}), _missing_slurm),
)
