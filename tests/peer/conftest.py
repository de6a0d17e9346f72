"""The reference, started once for all tests that compare with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from needs import PEER
from peer.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator


def start(tmp_path_factory: pytest.TempPathFactory, *options: str) -> Iterator[Reference]:
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
