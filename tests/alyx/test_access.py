"""Clients for scripts: one client for all calls of a user, and the one behind an object of the field."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ibl_dask.alyx.access import client_of
from ibl_dask.alyx.one_client import OneClient
from ibl_dask.errors import UsageError

TOKEN = "0" * 39 + "1"


def theirs(fake, user: str = "test_user", token: str = TOKEN) -> SimpleNamespace:
    return SimpleNamespace(alyx=SimpleNamespace(base_url=fake.url, user=user, _token={"token": token}))


def test_calls_of_a_script_share_a_client_its_pace_and_what_the_server_asked_for(fake) -> None:
    first = client_of(theirs(fake))
    fake.faults.retry_after = "600"
    fake.faults.plan("throttle", "GET", "/labs")
    with pytest.raises(Exception, match="asked to wait"):
        first.rows("labs")
    again = client_of(theirs(fake))
    assert again is first
    assert again.parked_s > 500


def test_another_user_token_or_address_is_another_client(fake, monkeypatch) -> None:
    mine = client_of(theirs(fake))
    assert client_of(theirs(fake, token="0" * 39 + "2")) is not mine
    assert client_of(theirs(fake, user="worker_user")) is not mine
    monkeypatch.setenv("IBL_DASK_ALYX_URL", fake.url)
    monkeypatch.setenv("IBL_DASK_ALYX_USER", "test_user")
    monkeypatch.setenv("IBL_DASK_ALYX_TOKEN", TOKEN)
    monkeypatch.delenv("IBL_DASK_ALYX_TOKEN_FILE", raising=False)
    assert client_of() is mine
    monkeypatch.setenv("IBL_DASK_ALYX_URL", "http://127.0.0.1:9")
    assert client_of() is not mine


def test_the_client_behind_one_of_this_package_is_taken(fake, alyx, tmp_path: Path) -> None:
    one = OneClient(alyx, tmp_path)
    assert client_of(one) is alyx
    assert client_of(SimpleNamespace(alyx=one)) is alyx
    assert client_of(alyx) is alyx


def test_an_object_without_a_login_is_refused(fake) -> None:
    with pytest.raises(UsageError, match="no client of Alyx that is logged in"):
        client_of(SimpleNamespace(alyx=SimpleNamespace(base_url=fake.url, user="x", _token=None)))
