"""A fake Alyx on a loopback port, and clients of it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from fake_alyx import FakeAlyx
from needs import CONTRACT

from ibl_dask.alyx.client import Alyx, Limits
from ibl_dask.alyx.credentials import Access, Token
from ibl_dask.alyx.pacing import Backoff

TOKEN = "0" * 39 + "1"
QUICK = Limits(
    per_minute=6e5, connect_s=2.0, read_s=20.0, read_files_s=20.0, patience_s=60.0, backoff=Backoff(0.001, 0.01, 12, 12)
)


@pytest.fixture(autouse=True)
def _no_client_of_another_test(monkeypatch):
    """Forget clients of scripts: a port may come again, and their server asked them to wait."""
    monkeypatch.setattr("ibl_dask.alyx.access._clients", {})


@pytest.fixture
def fake():
    with FakeAlyx() as server:
        yield server


@pytest.fixture
def alyx(fake):
    return Alyx(Access(fake.url, "test_user", Token(TOKEN)), QUICK)


@pytest.fixture
def hasty(fake):
    """Return a client that gives up an answer before a fake that hangs gives it; what it tries again has time."""
    fake.faults.hang_s = 1.5

    def sleep(pause_s):
        hasty.limits = QUICK
        time.sleep(pause_s)

    hasty = Alyx(Access(fake.url, "test_user", Token(TOKEN)), replace(QUICK, read_s=0.7, read_files_s=0.7), sleep=sleep)
    return hasty


@pytest.fixture
def alyx_contract():
    return CONTRACT
