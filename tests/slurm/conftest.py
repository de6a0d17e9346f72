"""One Slurm for all tests of this folder, empty before each of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from published import results
from slurm_machine import lacking, running
from slurm_runs import CHUNK_PIXELS, GOP

from ibl_dask.pipeline.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slurm_machine import Slurm

PLACE = Path("lab") / "Subjects" / "SW_001" / "2023-05-01" / "001"
TESTS = Path(__file__).resolve().parents[1] / "helpers"

FORM = os.environ.get("IBL_DASK_SLURM", "")
"""`long`: every test. `short`: those that take little time, and Slurm has to be there. Empty: as short, where it is.
`none`: no test."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if FORM != "long":
        slow = [item for item in items if item.get_closest_marker("slow_slurm")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def possible() -> None:
    """Fail if Slurm was asked for and cannot be started here."""
    reason = lacking()
    if reason:
        pytest.fail(f"Slurm cannot be started: {reason}")


@pytest.fixture(scope="session")
def _machine(possible: None) -> Iterator[Slurm]:
    with running() as slurm:
        yield slurm


@pytest.fixture
def slurm(_machine: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """Return a Slurm without jobs, which the commands of this process find."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SLURMD_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", str(_machine.conf))
    # Jobs inherit it, and import what tests define.
    here = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(here))
    yield _machine
    _machine.clear()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ibl_dask.synth.session import write_session

    folder = tmp_path_factory.mktemp("small") / PLACE
    folder.mkdir(parents=True)
    write_session(folder, duration_s=4, scale=0.125, gop=GOP, ssv_cameras=("body",))
    return folder


@pytest.fixture
def session(small: Path, tmp_path: Path) -> Path:
    """Return a copy of a small session of three cameras that a test may do anything with."""
    folder = tmp_path / PLACE
    shutil.copytree(small, folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, object]:
    """Return every number that a run in this process publishes for that session."""
    root = tmp_path_factory.mktemp("undisturbed")
    assert run([small], output_root=root, chunk_pixels=CHUNK_PIXELS).exit_code == 0
    return results(root / PLACE)
