"""Jobs of Alyx here and in the reference: names, rows that both make of one session, and ends of the same tasks."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alyx_passes import one_pass
from described import described
from fake_alyx import FakeAlyx
from field_recordings import record_probe
from flagged import flagged
from needs import PEER
from seven_tasks import MENDED, SEVEN

from ibl_dask.alyx.client import Alyx, Limits
from ibl_dask.alyx.credentials import Access, Token
from ibl_dask.alyx.description_row import sign_off_keys
from ibl_dask.alyx.job_creator import create_jobs
from ibl_dask.alyx.session_pipeline import Pipeline
from ibl_dask.pipes.absent import NotOffered
from ibl_dask.tasks.external.environments import Database, Environments

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.peer

SCRIPT = """
import json, sys, logging; logging.basicConfig(level=logging.INFO)
from collections import OrderedDict
from pathlib import Path
from one.api import ONE
import numpy as np
from ibllib.pipes.base_tasks import DynamicTask
from ibllib.pipes.tasks import Pipeline, run_alyx_task
from ibllib.pipes import local_server

url, flagged, session, seven = sys.argv[1:]
one = ONE(base_url=url, username='test_user', password='secret one', silent=True, cache_rest=None,
          cache_dir=str(Path(flagged)), mode='remote')
out = {}
pipes, _ = local_server.job_creator(flagged, one=one)
out['created'] = len(pipes)

from ibllib.qc.base import sign_off_dict
out['signed'] = [sorted(sign_off_dict(content)['sign_off_checklist']) for content in json.loads(seven)]

import ibllib_seven
pipe = Pipeline(session, one=one, tasks=OrderedDict())
deck, _ = pipe.run(machine='here')
out['first'] = {t['name']: t['status'] for t in deck}
(Path(session) / 'mended.flag').touch()
deck, _ = pipe.rerun_failed(machine='here')
out['second'] = {t['name']: t['status'] for t in one.alyx.rest('tasks', 'list', session=pipe.eid, no_cache=True)}
print('ANSWER' + json.dumps(out))
"""


SIGNED = [
    {
        "devices": {"cameras": {"left": {}, "right": {}}, "microphone": {"microphone": {}}},
        "tasks": [{"a": {}}, {"b": {}}],
    },
    {"devices": {"neuropixel": {"probe00": {}, "probe01": {}}, "widefield": {"widefield": {}}}},
    {"devices": {"neuropixel": {"neuropixel": {}}}, "tasks": [{"a": {}, "b": {}}, {"a": {}}]},
    {},
]
"""Contents of descriptions whose lists of what is signed off are compared."""


def alyx_of(fake: FakeAlyx) -> Alyx:
    return Alyx(Access(fake.url, "test_user", Token("0" * 39 + "1")), Limits(per_minute=6e5))


def seven_rows(fake: FakeAlyx, module: str) -> str:
    eid = fake.world.add_session("SW_001")
    ids: dict[str, str] = {}
    for level, (name, parents) in enumerate(SEVEN.items()):
        ids[name] = fake.world.add_task(
            eid, name, executable=f"{module}.{name}", parents=[ids[p] for p in parents], level=level // 5
        )
    return eid


def rows(fake: FakeAlyx, subject: str) -> dict[str, dict[str, Any]]:
    sessions = {key for key, row in fake.world.sessions.items() if row["subject"] == subject}
    tasks = [row for row in fake.world.tasks.values() if row["session"] in sessions]
    names = {row["id"]: row["name"] for row in tasks}
    varying = ("id", "session", "datetime")
    return {
        row["name"]: {
            **{k: v for k, v in row.items() if k not in varying},
            "parents": sorted(map(names.get, row["parents"])),
        }
        for row in tasks
    }


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """What the reference made: the answer of its script, rows and session of a flagged folder."""
    root = tmp_path_factory.mktemp("theirs")
    globus = root / ".globusonline/lta/client-id.txt"
    globus.parent.mkdir(parents=True)
    globus.write_text("00000000-1111-4222-8333-444444444444")
    text = Path(__file__).parents[1].joinpath("helpers", "seven_tasks.py").read_text()
    text = text.replace("import ibl_dask as ibd", "from ibllib.pipes import base_tasks as ibd")
    (root / "ibllib_seven.py").write_text(text)
    flagged(root / "Subjects")
    path = described(root / "other", "SW_001/2026-11-20/001")
    with FakeAlyx() as fake:
        seven_rows(fake, "ibllib_seven")
        environment = {"PATH": os.environ["PATH"], "HOME": str(root), "MPLBACKEND": "Agg", "PYTHONPATH": str(root)}
        ran = subprocess.run(
            [PEER, "-c", SCRIPT, fake.url, str(root / "Subjects"), str(path), json.dumps(SIGNED)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "ANSWER" in ran.stdout, ran.stdout + ran.stderr
        answer = json.loads(ran.stdout.partition("ANSWER")[2])
        assert answer["created"] == 1, ran.stdout + ran.stderr
        session = next(row for row in fake.world.sessions.values() if row["subject"] == "TST_001")
        return {**answer, "rows": rows(fake, "TST_001"), "session": session}


def test_both_make_the_same_rows_and_the_same_session(theirs, tmp_path: Path) -> None:
    flagged(tmp_path / "Subjects")
    with FakeAlyx() as fake:
        made = list(create_jobs(tmp_path / "Subjects", alyx_of(fake), repository="cortexlab_local", settled_s=0))
        assert [each.state for each in made] == ["created"]
        assert rows(fake, "TST_001") == theirs["rows"]
        (session,) = fake.world.sessions.values()
    varying = ("id", "auto_datetime", "url")
    assert {k: v for k, v in session.items() if k not in varying} == {
        k: v for k, v in theirs["session"].items() if k not in varying
    }


def test_seven_tasks_end_alike_at_first_and_after_rerun_failed(theirs, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IBL_DASK_TASK_PACKAGES", "seven_tasks")
    path = described(tmp_path, "SW_001/2026-11-20/001")
    with FakeAlyx() as fake:
        seven_rows(fake, "seven_tasks")
        pipeline = Pipeline(path, alyx_of(fake))
        pipeline.run()
        assert {row["name"]: row["status"] for row in fake.world.tasks.values()} == theirs["first"]
        (path / MENDED).touch()
        pipeline.rerun_failed()
        assert {row["name"]: row["status"] for row in fake.world.tasks.values()} == theirs["second"]


def test_the_same_is_signed_off(theirs) -> None:
    assert [sorted(sign_off_keys(content)) for content in SIGNED] == theirs["signed"]


def names_in(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in found if not name.startswith("_")}


def test_every_name_of_every_module_is_there_or_names_the_way_to_go() -> None:
    asked = "import importlib.util; print(importlib.util.find_spec('ibllib').submodule_search_locations[0])"
    folder = subprocess.run([PEER, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    modules = sorted(Path(folder, "pipes").glob("*.py"))
    assert len(modules) > 15
    n_there = n_reasons = 0
    for path in modules:
        name = "ibl_dask.pipes" if path.stem == "__init__" else f"ibl_dask.pipes.{path.stem}"
        module = importlib.import_module(name)
        for each in names_in(path.read_text()):
            if each in ("log", "logger") and not hasattr(module, "__getattr__"):
                continue
            if each in module.__all__:
                assert getattr(module, each) is not None
                n_there += 1
                continue
            with pytest.raises(NotOffered, match="What to do: "):
                getattr(module, each)
            n_reasons += 1
        assert set(module.__all__) <= names_in(path.read_text()), name
    assert n_there > 60
    assert n_reasons > 30


def test_a_task_of_the_reference_that_works_on_alyx_runs_from_here(tmp_path: Path) -> None:
    path = described(tmp_path, "SW_001/2026-11-20/001")
    record_probe(path / "raw_ephys_data" / "probe00", 0.1)
    token = tmp_path / "token"
    token.write_text("0" * 39 + "1")
    token.chmod(0o600)
    with FakeAlyx() as fake:
        eid = fake.world.add_session("SW_001")
        key = fake.world.add_task(eid, "EphysRegisterRaw", executable="ibllib.pipes.ephys_tasks.EphysRegisterRaw")
        environments = Environments({"ibllib": PEER}, Database(fake.url, "test_user", str(token)))
        one_pass(alyx_of(fake), tmp_path / "Subjects", environments=environments)
        assert fake.world.tasks[key]["status"] == "Complete", fake.world.tasks[key]["log"]
        assert [(row["name"], row["session"]) for row in fake.world.insertions.values()] == [("probe00", eid)]
        assert fake.world.files_of(eid) == ["alf/probes.description.json"]
