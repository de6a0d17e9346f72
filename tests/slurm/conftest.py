"""One Slurm for all tests of this folder, empty before each of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from slurm.machine import lacking, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurm.machine import Slurm

FORM = os.environ.get("IBL_DASK_SLURM", "")
"""`long`: every test. `short`: those that take little time, and Slurm has to be there. Empty: as short, where it is."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if FORM != "long":
        slow = [item for item in items if item.get_closest_marker("slow_slurm")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def possible() -> None:
    """Skip, or fail where it was asked for, if Slurm cannot be started here."""
    reason = lacking()
    if reason and FORM:
        pytest.fail(f"Slurm cannot be started: {reason}")
    if reason:
        pytest.skip(f"no Slurm here: {reason}")


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
    yield _machine
    _machine.clear()
