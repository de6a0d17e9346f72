"""The reference, started once for all tests that compare with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from peer.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

PEER = os.environ.get("IBL_DASK_PEER_PYTHON")


def start(tmp_path_factory: pytest.TempPathFactory, *options: str) -> Iterator[Reference]:
    if not PEER:
        pytest.skip("the reference is not installed; set IBL_DASK_PEER_PYTHON to its python")
    reference = Reference(PEER, tmp_path_factory.mktemp("reference"), *options)
    yield reference
    reference.close()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """Return the reference."""
    yield from start(tmp_path_factory)


@pytest.fixture(scope="session")
def reference_without_asserts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """Return the reference under `python -O`, which leaves out all `assert`."""
    yield from start(tmp_path_factory, "-O")
