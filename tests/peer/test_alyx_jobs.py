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
from ibl_dask.alyx.run_task import run_alyx_task
from ibl_dask.alyx.session_pipeline import Pipeline
from ibl_dask.api import VideoCompress
from ibl_dask.pipes.absent import NotOffered
from ibl_dask.pipes.spec import TaskSpec
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


OF_ALYX = {"ExperimentDescriptionRegisterRaw", "VideoRegisterRaw", "RegisterRaw_trainingChoiceWorld_00"}
"""Rows of a flagged session of stubs that can end well."""


def run_theirs(fake: FakeAlyx, home: Path, script: str, *arguments: str) -> Any:
    globus = home / ".globusonline/lta/client-id.txt"
    globus.parent.mkdir(parents=True)
    globus.write_text("00000000-1111-4222-8333-444444444444")
    login = "one = ONE(base_url=sys.argv[1], username='test_user', password='secret one', silent=True, cache_rest=None,"
    login += " cache_dir=sys.argv[2], mode='remote')\n"
    head = (
        "import json, sys\nfrom pathlib import Path\nfrom one.api import ONE\nfrom ibllib.pipes import local_server\n"
    )
    ran = subprocess.run(
        [PEER, "-c", head + login + script, fake.url, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "ANSWER" in ran.stdout, ran.stdout + ran.stderr
    return json.loads(ran.stdout.partition("ANSWER")[2])


def test_rows_that_are_made_here_are_queued_and_run_by_the_reference(tmp_path: Path) -> None:
    flagged(tmp_path / "Subjects")
    script = """
queue = local_server.task_queue('all', alyx=one.alyx)
small = local_server.task_queue('small', alyx=one.alyx)
wanted = json.loads(sys.argv[3])
from ibllib.pipes.tasks import run_alyx_task
first = next(t for t in queue if t['name'] == 'VideoRegisterRaw')
session = next(Path(sys.argv[2]).glob('*/????-??-??/*'))
row, datasets = run_alyx_task(tdict=first, session_path=session, one=one)
rest = [t for t in queue if t['name'] in wanted and t['name'] != 'VideoRegisterRaw']
datasets += local_server.tasks_runner(sys.argv[2], rest, one=one, count=5)
print('ANSWER' + json.dumps([[t['name'] for t in queue], [t['name'] for t in small], [d['name'] for d in datasets],
                             sorted(datasets[0])]))
"""
    with FakeAlyx() as fake:
        (made,) = create_jobs(tmp_path / "Subjects", alyx_of(fake), repository="cortexlab_local", settled_s=0)
        wanted = json.dumps(sorted(OF_ALYX))
        queue, small, datasets, keys = run_theirs(fake, tmp_path, script, str(tmp_path / "Subjects"), wanted)
        assert set(queue) == {row["name"] for row in made.tasks}
        assert set(queue) - set(small) == {"VideoCompress"}
        status = {row["name"]: row["status"] for row in fake.world.tasks.values() if row["name"] in OF_ALYX}
        assert status == dict.fromkeys(OF_ALYX, "Complete")
        assert len(datasets) == len(fake.world.files_of(made.eid)) > 3
        # The records that a script of the field gets here have the same fields.
        row = next(row for row in fake.world.tasks.values() if row["name"] == "VideoRegisterRaw")
        row["status"] = "Waiting"
        _, ours = run_alyx_task(dict(row), made.path, alyx_of(fake))
        assert set(keys) <= ours[0].keys()


def test_rows_that_the_reference_made_run_here_to_their_end(tmp_path: Path) -> None:
    flagged(tmp_path / "Subjects")
    script = """
pipes, _ = local_server.job_creator(sys.argv[2], one=one)
print('ANSWER' + json.dumps(len(pipes)))
"""
    with FakeAlyx() as fake:
        assert run_theirs(fake, tmp_path, script, str(tmp_path / "Subjects")) == 1
        names = {row["name"] for row in fake.world.tasks.values()}
        environments = Environments({"ibllib": PEER})
        for _ in range(3):
            one_pass(alyx_of(fake), tmp_path / "Subjects", environments=environments)
        rows_now = {row["name"]: row for row in fake.world.tasks.values()}
        assert rows_now.keys() == names
        status = {name: row["status"] for name, row in rows_now.items()}
        assert {name: status[name] for name in OF_ALYX} == dict.fromkeys(OF_ALYX, "Complete"), status
        assert status["VideoCompress"] == "Errored"  # its video is a stub
        assert "Started" not in status.values()
        (session,) = fake.world.sessions
        registered = fake.world.files_of(session)
        assert "raw_video_data/_iblrig_leftCamera.timestamps.ssv" in registered
        assert "raw_task_data_00/_iblrig_taskData.raw.jsonable" in registered
        assert "_ibl_experiment.description.yaml" in registered


def members_in(source: str, cls: str) -> set[str]:
    """Return the public members of a class: methods, properties, fields, and what its constructor sets."""
    body = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == cls)
    found: set[str] = set()
    for node in ast.walk(body):
        if isinstance(node, ast.FunctionDef):
            found |= {node.name} if node in body.body else set()
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found |= {node.attr} if isinstance(node.value, ast.Name) and node.value.id == "self" else set()
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name) and node in body.body}
    return {name for name in found if not name.startswith("_")}


def test_every_member_of_tasks_pipelines_and_specs_is_there(tmp_path: Path) -> None:
    asked = "import importlib.util; print(importlib.util.find_spec('ibllib').submodule_search_locations[0])"
    folder = subprocess.run([PEER, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    path = described(tmp_path)
    ours: dict[str, object] = {
        "Task": VideoCompress(path, cameras=("left",)),
        "Pipeline": Pipeline(path, eid="f9502295-bd4c-4643-99a6-99278d7d75ac"),
        "TaskSpec": TaskSpec("a", "b.C"),
    }
    no_work = {"Task": {"data_handler"}, "Pipeline": set(), "TaskSpec": set()}
    for cls, found in ours.items():
        source = Path(folder, "pipes", "spec.py" if cls == "TaskSpec" else "tasks.py").read_text()
        members = members_in(source, cls)
        assert len(members) > 10
        assert {name for name in members - no_work[cls] if not hasattr(found, name)} == set(), cls


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
