"""Tasks of the reference that work on Alyx, run from here with a database; and what they give to a shell."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from alyx_passes import one_pass
from fake_alyx import PNG, FakeAlyx
from field_sessions import write_ephys, write_widefield
from needs import PEER

import ibl_dask as ibd
from ibl_dask.alyx.client import Alyx, Limits
from ibl_dask.alyx.credentials import Access, Token
from ibl_dask.model.session import Session
from ibl_dask.tasks.catalogue import FIELD_TASKS, field_task
from ibl_dask.tasks.external.environments import Database, Environments
from ibl_dask.tasks.external.task import ForeignTask

pytestmark = pytest.mark.peer

TOKEN = "0" * 39 + "1"
SCRIPT = """
import ast, importlib, inspect, json, sys, textwrap

def works_on_alyx(cls):
    asked = {'update', 'upload', 'upload_plots'} & set(inspect.signature(cls._run).parameters)
    found = bool(asked)
    for base in cls.__mro__:
        if base.__name__ in ('Task', 'DynamicTask', 'RegisterRawDataTask', 'ABC', 'object'):
            continue
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base)))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == 'self':
                found |= node.attr in ('one', 'register_snapshots')
    return found

rows = json.loads(sys.argv[1])
found = {name: works_on_alyx(getattr(importlib.import_module(module), name)) for name, module in rows.items()}
print('ANSWER' + json.dumps(found))
"""


def in_the_environment(folder: Path, code: str, *arguments: str) -> str:
    """Return what code prints in the environment of the reference, in the folder `here`."""
    (folder / "here").mkdir()
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "MPLBACKEND": "Agg"}
    command = [PEER, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder / "here", env=variables)
    return done.stdout


def test_the_catalogue_marks_every_class_that_works_on_the_database(tmp_path: Path) -> None:
    rows = {name: row for name, row in FIELD_TASKS.items() if row.native is None}
    modules = json.dumps({name: row.module for name, row in rows.items()})
    found: dict[str, bool] = json.loads(in_the_environment(tmp_path, SCRIPT, modules).rpartition("ANSWER")[2])
    assert {name: row.needs_alyx or row.uses_alyx for name, row in rows.items()} == found
    assert sum(found.values()) > 10


@pytest.fixture
def run_row(tmp_path: Path):
    """Write a session and run the row of one of its classes with a database; return the fake, its row and session."""

    def run_row(fake: FakeAlyx, session: Path, cls: str) -> dict[str, Any]:
        (spec,) = (spec for spec in ibd.make_pipeline(session).specs if spec.executable.endswith(f".{cls}"))
        fake.world.types = [{**fake.world.types[-1], "filename_pattern": "*"}]  # it takes any file
        fake.world.formats[-1]["file_extension"] = ".camlog"
        token = tmp_path / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        eid = fake.world.add_session("SW_001")
        key = fake.world.add_task(eid, cls, executable=spec.executable, arguments=dict(spec.arguments))
        environments = Environments({"ibllib": PEER}, Database(fake.url, "test_user", str(token)))
        alyx = Alyx(Access(fake.url, "test_user", Token(TOKEN)), Limits(per_minute=6e5))
        one_pass(alyx, tmp_path / "Subjects", environments=environments)
        return fake.world.tasks[key]

    return run_row


@pytest.fixture
def session(tmp_path: Path) -> Path:
    folder = tmp_path / "Subjects" / "SW_001" / "2026-11-20" / "001"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.recordings
def test_trials_of_a_session_have_their_checks_and_figures_in_alyx(run_row, session: Path, data_folder: Path) -> None:
    write_ephys(session, data_folder)
    for name in ("SyncRegisterRaw", "SyncPulses_nidq"):
        assert ibd.make_pipeline(session, environments={"ibllib": PEER}).tasks[name].run() == 0
    with FakeAlyx() as fake:
        row = run_row(fake, session, "ChoiceWorldTrialsNidq")
        assert row["status"] == "Complete", row["log"]
        checks = fake.world.sessions[row["session"]]["extended_qc"]
        assert len([name for name in checks if name.startswith("_task_")]) > 10
        assert "behavior" in checks
        assert fake.world.sessions[row["session"]]["qc"] != "NOT_SET"
        texts = [note["text"] for note in fake.world.notes.values()]
        assert sorted(texts) == ["chronometric_curve", "psychometric_curve", "reaction_time_with_trials"]


@pytest.mark.recordings
def test_snapshots_of_a_widefield_rig_become_notes(run_row, session: Path, data_folder: Path) -> None:
    write_widefield(session, data_folder)
    (session / "raw_widefield_data" / "snapshots").mkdir(parents=True)
    (session / "raw_widefield_data" / "snapshots" / "window.png").write_bytes(PNG)
    with FakeAlyx() as fake:
        row = run_row(fake, session, "WidefieldRegisterRaw")
        assert row["status"] == "Complete", row["log"]
        assert len(fake.world.notes) == 1


@pytest.mark.parametrize("subject", ["my mouse", "x;touch HIT;"])
def test_the_reference_gives_names_to_a_shell_and_is_given_no_such_name(tmp_path: Path, subject: str) -> None:
    """In a folder with a blank its command is another one; with a `;` the rest of the name is a command."""
    folder = tmp_path / "Subjects" / subject / "2026-11-20" / "001"
    (folder / "raw_behavior_data").mkdir(parents=True)
    (folder / "raw_behavior_data" / "_iblrig_micData.raw.wav").write_bytes(b"RIFF")
    code = "import sys; from ibllib.pipes.audio_tasks import AudioCompress; "
    code += "print(AudioCompress(sys.argv[1], device_collection='raw_behavior_data', location='local').run())"
    assert in_the_environment(tmp_path, code, str(folder)).endswith("-1\n")
    hit = tmp_path / "here" / "HIT"
    assert hit.exists() == (";" in subject)
    hit.unlink(missing_ok=True)
    spec = field_task("AudioCompress", "AudioCompress", {"device_collection": "raw_behavior_data"})
    task = ForeignTask(Session(folder), spec=spec, environments=Environments({"ibllib": PEER}))
    assert task.run() == -2
    assert "a name that a shell interprets" in task.failures[0].message
    assert not list(tmp_path.rglob("HIT"))
