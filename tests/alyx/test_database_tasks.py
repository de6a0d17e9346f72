"""Tasks that work on Alyx themselves: with a database they run in their environment, without one they wait."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

import pytest
from alyx_passes import one_pass
from described import described
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.alyx import local_server
from ibl_dask.alyx.run_task import run_alyx_task
from ibl_dask.model.session import Session
from ibl_dask.model.task import TaskSpec
from ibl_dask.tasks.catalogue import FIELD_TASKS, field_task
from ibl_dask.tasks.external.child_main import Mask, MaskedStream
from ibl_dask.tasks.external.environments import Database, Environments
from ibl_dask.tasks.external.task import ForeignTask
from ibl_dask.tasks.registry import build_task

TOKEN = "0" * 39 + "1"
PACKAGE = '''
import logging, os, subprocess, sys, traceback

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


class Task(TrainingStatus):
    def run(self, **kwargs):
        self.status = 0
        try:
            self.outputs = self._run(**kwargs)
        except Exception:
            self.log += traceback.format_exc()
            self.status = -1
        return self.status


class Trials(Task):
    """Writes its files, and its checks to Alyx if asked, as the field's trials do."""

    def __init__(self, session_path, **kwargs):
        super().__init__(session_path, **kwargs)
        self.input_files, self.figures = [File()], []

    def _run(self, update=True, upload_plots=True):
        out = self.session_path / "alf" / "trials.table.pqt"
        out.parent.mkdir(exist_ok=True)
        out.write_text(f"{update} {upload_plots}")
        with (self.session_path / "runs.txt").open("a") as file:
            file.write("x")
        if update:
            eid = str(self.one.path2eid(self.session_path, query_type="remote"))
            self.one.alyx.json_field_update("sessions", eid, "extended_qc", {"_task_stimOn": 1.0})
            self.figures.append(eid)
        return [out]

    def register_images(self):
        for eid in self.figures:
            data = {"user": self.one.alyx.user, "content_type": "session", "object_id": eid, "text": "psychometric"}
            self.one.alyx.rest("notes", "create", data=data)


class File:
    operator, glob_pattern = None, "_ibl_experiment.description.yaml"

    def find_files(self, root):
        return True, [root / self.glob_pattern], None


class Snapshots(Task):
    def _run(self):
        self.register_snapshots()
        return []

    def register_snapshots(self):
        eid = str(self.one.path2eid(self.session_path, query_type="remote"))
        self.one.alyx.json_field_update("sessions", eid, data={"snapshots": True})


class Talks(Task):
    """Writes the token wherever a task may write it."""

    def _run(self):
        token, out = self.one.alyx._token["token"], os.fdopen(1, "w", buffering=1, closefd=False)
        logging.basicConfig(level=logging.DEBUG)
        self.one.alyx.rest("sessions", "list", number=1, no_cache=True)  # ONE logs its headers
        logging.getLogger("one").setLevel(logging.DEBUG)
        self.one.alyx.rest("sessions", "list", number=2, no_cache=True)
        print("printed", token, file=sys.stderr)
        print(token[:20], end="", flush=True)
        print(token[20:], "in two pieces")
        for piece in (token[:7], token[7:30], token[30:], " past the streams of Python\\n"):
            out.write(piece)
            out.flush()
        subprocess.run(["echo", "by another program", token], check=True)
        sys.stdout.writelines(["the end of it: ", token[:3]])
        self.log += f"in its log {token}"
        raise RuntimeError(f"request failed, headers: {self.one.alyx._headers}")
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
def add_row(fake, tmp_path: Path, monkeypatch):
    """Add a row of a class to the one session; return it."""
    monkeypatch.setenv("IBL_DASK_TASK_PACKAGES", "elsewhere")
    described(tmp_path, "SW_001/2026-11-20/001")
    eid = fake.world.add_session("SW_001", json={"kept": 1}, extended_qc={"other": 2})

    def add_row(cls: str) -> dict:
        return fake.world.tasks[fake.world.add_task(eid, f"{cls}_00", executable=f"elsewhere.{cls}")]

    return add_row


@pytest.fixture
def row(add_row) -> dict:
    return add_row("TrainingStatus")


@pytest.fixture
def database(fake, tmp_path: Path) -> Database:
    file = tmp_path / "secret" / "token"
    file.parent.mkdir()
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return Database(fake.url, "test_user", str(file))


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


def test_what_a_task_writes_to_alyx_where_there_is_one_is_written(
    fake, alyx, places, add_row, database, tmp_path: Path
) -> None:
    trials, snapshots = add_row("Trials"), add_row("Snapshots")
    one_pass(alyx, tmp_path / "Subjects", environments=Environments(places, database))
    assert (trials["status"], snapshots["status"]) == ("Complete", "Complete"), (trials["log"], snapshots["log"])
    out = tmp_path / "Subjects" / "SW_001" / "2026-11-20" / "001" / "alf" / "trials.table.pqt"
    assert out.read_text() == "True True"
    session = fake.world.sessions[trials["session"]]
    assert session["extended_qc"] == {"other": 2, "_task_stimOn": 1.0}
    assert session["json"] == {"kept": 1, "snapshots": True}
    assert [note["text"] for note in fake.world.notes.values()] == ["psychometric"]


def test_without_a_database_these_parts_are_left_out_and_done_once_there_is_one(
    fake, alyx, places, add_row, database, tmp_path: Path
) -> None:
    trials = add_row("Trials")
    session = tmp_path / "Subjects" / "SW_001" / "2026-11-20" / "001"

    def n_runs(environments: Environments) -> int:
        task = build_task(TaskSpec("Trials_00", "elsewhere.Trials"), Session(session), environments=environments)
        assert task.run() == 0, task.failures
        return len((session / "runs.txt").read_text())

    assert [n_runs(Environments(places)) for _ in range(2)] == [1, 1]
    assert fake.world.sessions[trials["session"]]["extended_qc"] == {"other": 2}
    assert [n_runs(Environments(places, database)) for _ in range(2)] == [2, 2]
    assert fake.world.sessions[trials["session"]]["extended_qc"] == {"other": 2, "_task_stimOn": 1.0}
    assert n_runs(Environments(places)) == 2, "what was done with a database is done without one"


def test_in_an_environment_without_one_what_can_do_without_does(
    fake, alyx, places, add_row, database, tmp_path: Path
) -> None:
    site = tmp_path / "environment" / "site" / "sitecustomize.py"
    site.write_text("import sys; sys.modules['one'] = None\n")
    trials, status = add_row("Trials"), add_row("TrainingStatus")
    one_pass(alyx, tmp_path / "Subjects", environments=Environments(places, database))
    assert trials["status"] == "Complete", trials["log"]
    assert "the database is left out: ONE is not installed in this environment" in trials["log"]
    assert fake.world.sessions[trials["session"]]["extended_qc"] == {"other": 2}
    assert status["status"] == "Errored"
    assert "an environment that holds all that it imports" in status["log"]


def test_the_token_is_in_nothing_that_a_run_leaves(fake, alyx, places, add_row, database, tmp_path: Path) -> None:
    row = add_row("Talks")
    one_pass(alyx, tmp_path / "Subjects", environments=Environments(places, database))
    assert row["status"] == "Errored"
    for part in (
        "printed [token]",
        "[token] in two pieces",
        "[token] past the streams of Python",
        "by another program [token]",
        "in its log [token]",
        "'Token [token]'",
        "the end of it: 000",
    ):
        assert part in row["log"], part
    assert TOKEN not in row["log"]
    files = [path for path in (tmp_path / "Subjects").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]


def test_the_database_goes_to_the_tasks_that_work_on_it_alone(places, database, tmp_path: Path) -> None:
    path = described(tmp_path, "SW_001/2026-11-20/001")
    given = set()
    for environments in (Environments(places, database), Environments({}, database)):
        for name, known in FIELD_TASKS.items():
            task = ForeignTask(Session(path), spec=field_task(name, name, {}), environments=environments)
            (step,) = task.steps({})
            assert (step.request.environments.database is not None) == (known.needs_alyx or known.uses_alyx), name
            given |= {name} if step.request.environments.database else set()
    assert {"ChoiceWorldTrialsNidq", "WidefieldPreprocess", "WidefieldRegisterRaw", "SpikeSorting"} <= given
    assert not {"AudioCompress", "SyncPulses", "LightningPose"} & given
    unknown = ForeignTask(Session(path), spec=TaskSpec("X", "a_lab.tasks.X"), environments=Environments({}, database))
    assert unknown.steps({})[0].request.environments.database is database


@given(st.lists(st.sampled_from(["a", "b", "ab", "aab", "abab", "x", "\n"]), max_size=30))
def test_a_secret_is_replaced_however_a_text_is_cut(pieces: list[str]) -> None:
    mask, stream = Mask(["aabab"]), io.StringIO()
    found = "".join([*map(mask, pieces), mask("", True)])
    assert found == "".join(pieces).replace("aabab", "[token]")
    masked = MaskedStream(stream, "aabab")
    masked.writelines(pieces)
    assert "aabab" not in stream.getvalue()
    masked.end()
    assert stream.getvalue() == found


@pytest.mark.parametrize("way", ["run_alyx_task", "tasks_runner"])
def test_the_login_of_the_caller_is_lent_to_it(
    fake, alyx, places, add_row, tmp_path: Path, monkeypatch, way: str
) -> None:
    row = add_row("TrainingStatus")
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
