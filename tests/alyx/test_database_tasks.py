"""Tasks that work on Alyx themselves: with a database they run in their environment, without one they wait."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
from alyx_passes import one_pass
from described import described

from ibl_dask.alyx import local_server
from ibl_dask.alyx.run_task import run_alyx_task
from ibl_dask.tasks.external.environments import Database, Environments

TOKEN = "0" * 39 + "1"
PACKAGE = '''
import os, sys

class TrainingStatus:
    """As the field writes tasks, with a ONE that it asks."""

    version, input_files, output_files, log, outputs, status = "9", (), (), "", [], 0

    def __init__(self, session_path, one=None, location="server", **kwargs):
        self.session_path, self.one = session_path, one

    def setUp(self, **kwargs):
        return True

    def _run(self, upload=True):
        one = self.one
        eid = one.path2eid(self.session_path, query_type="remote")
        one.alyx.json_field_update("sessions", str(eid), data={"trained": upload})
        hidden = not [name for name in os.environ if "ALYX_TOKEN" in name] and "0001" not in " ".join(sys.argv)
        self.log = f"{one.alyx.user} of {one.alyx.base_url}, hidden: {hidden}"

    def run(self, **kwargs):
        self._run(**kwargs)
        return 0
'''


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    site = tmp_path / "environment" / "site"
    site.mkdir(parents=True)
    (site / "elsewhere.py").write_text(PACKAGE)
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return {"ibllib": str(python)}


@pytest.fixture
def row(fake, tmp_path: Path, monkeypatch) -> dict:
    monkeypatch.setenv("IBL_DASK_TASK_PACKAGES", "elsewhere")
    described(tmp_path, "SW_001/2026-11-20/001")
    eid = fake.world.add_session("SW_001", json={"kept": 1})
    key = fake.world.add_task(eid, "TrainingStatus_00", executable="elsewhere.TrainingStatus")
    return fake.world.tasks[key]


@pytest.mark.parametrize("way", ["file", "variable"])
def test_it_is_given_a_one_that_is_logged_in(fake, alyx, places, row, tmp_path: Path, monkeypatch, way: str) -> None:
    file = tmp_path / "secret" / "token"
    if way == "file":
        file.parent.mkdir()
        file.write_text(f"{TOKEN}\n")
        file.chmod(0o600)
    else:
        monkeypatch.setenv("IBL_DASK_ALYX_TOKEN", TOKEN)
    database = Database(fake.url, "test_user", str(file) if way == "file" else "")
    one_pass(alyx, tmp_path / "Subjects", environments=Environments(places, database))
    assert row["status"] == "Complete", row["log"]
    assert f"test_user of {fake.url}, hidden: True" in row["log"]
    assert fake.world.sessions[row["session"]]["json"] == {"kept": 1, "trained": True}
    assert os.environ.get("IBL_DASK_ALYX_TOKEN") == (TOKEN if way == "variable" else None)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or path == file or TOKEN.encode() not in path.read_bytes(), path


def test_without_a_database_it_waits_with_the_reason(alyx, places, row, tmp_path: Path) -> None:
    feed, _ = one_pass(alyx, tmp_path / "Subjects", environments=Environments(places))
    assert row["status"] == "Waiting"
    assert "needs Alyx" in feed.put_off.reasons[row["id"]]


@pytest.mark.parametrize("way", ["run_alyx_task", "tasks_runner"])
def test_the_login_of_the_caller_is_lent_to_it(fake, alyx, places, row, tmp_path: Path, monkeypatch, way: str) -> None:
    for name in ("URL", "USER", "TOKEN", "TOKEN_FILE"):
        monkeypatch.delenv(f"IBL_DASK_ALYX_{name}", raising=False)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    environments = Environments(places)
    if way == "run_alyx_task":
        session = tmp_path / "Subjects/SW_001/2026-11-20/001"
        run_alyx_task(dict(row), session, alyx, environments=environments)
    else:
        local_server.tasks_runner(tmp_path / "Subjects", [dict(row)], alyx, environments=environments)
    assert row["status"] == "Complete", row["log"]
    assert f"test_user of {fake.url}, hidden: True" in row["log"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
