"""Where there are many workers they plan and conclude sessions and tasks, with the same results as the driver."""

import os
import threading
from collections import Counter

import numpy as np
import pytest

from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline import task_calls
from ibl_dask.pipeline.run import run
from ibl_dask.store.journal import read_journal
from ibl_dask.store.lock import holding
from ibl_dask.tasks.task import Task


@pytest.fixture
def on_workers(monkeypatch):
    """Make every cluster count as one with many workers."""
    monkeypatch.setattr(task_calls, "MOST_SLOTS_SERVED", 0)


@pytest.fixture
def sessions(tmp_path):
    made = []
    for number in range(3):
        made.append(tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / f"00{number + 1}")
        made[-1].mkdir(parents=True)
        (made[-1] / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    return made


def noting(label, *parents, how="Complete"):
    return TaskSpec(label, "turn_tasks.Noting", {"label": label, "how": how}, parents)


SPECS = [
    noting("one"),
    noting("bad", how="Errored"),
    noting("unplannable", how="Unplannable"),
    noting("child", "one"),
    noting("orphan", "bad"),
    TaskSpec("broken", "turn_tasks.Nothing"),
    TaskSpec("odd", "turn_tasks.Odd", {"label": "odd"}),
    TaskSpec("where", "planning_tasks.Where"),
]


def told(result, path):
    """Return what a run notes of a session, without times, processes and the order of tasks."""
    events = [event for event in read_journal(result.journal) if event.get("session") == str(path)]
    tasks = {e["task"]: (e["status"], e["outputs"], e["failures"]) for e in events if e["event"] == "TaskFinished"}
    for name, (status, outputs, failures) in tasks.items():
        tasks[name] = status, outputs, [(f["kind"], f["category"], f["message"]) for f in failures]
    steps = sorted((*e["record"]["key"], e["record"]["status"]) for e in events if e["event"] == "StepFinished")
    planned = sum((Counter(e["steps"]) for e in events if e["event"] == "SessionPlanned"), Counter())
    return tasks, [step for step in steps if step[0] != "report"], planned, events[-1]["event"]


def test_where_there_are_many_workers_they_plan_and_conclude_and_nothing_else_changes(
    sessions, client, on_workers, monkeypatch, tmp_path
):
    absent = sessions[0].with_name("009")
    result = run(
        [*sessions, absent], specs=SPECS, client=client, output_root=tmp_path / "far", work_dir=tmp_path / "w1"
    )
    with monkeypatch.context() as plain:
        plain.setattr(task_calls, "MOST_SLOTS_SERVED", 4)
        here = run(
            [*sessions, absent], specs=SPECS, client=client, output_root=tmp_path / "near", work_dir=tmp_path / "w2"
        )
    for far, near in zip(result.sessions, here.sessions, strict=True):
        assert (far.tasks, far.state, far.reasons, far.not_required) == (
            near.tasks,
            near.state,
            near.reasons,
            near.not_required,
        )
        assert {f.message for f in far.failures} == {f.message for f in near.failures}
        assert told(result, far.path) == told(here, near.path)
    planned = {(s / "planned_by").read_text() for s in sessions}
    assert planned == {str(os.getpid())}, "the second run planned here"


def test_planning_and_concluding_happen_on_workers(sessions, client, on_workers):
    assert run(sessions, specs=[TaskSpec("where", "planning_tasks.Where")], client=client).is_success
    for session in sessions:
        for name in ("planned_by", "concluded_by"):
            assert int((session / name).read_text()) != os.getpid()


def test_a_task_that_cannot_be_sent_is_planned_here(sessions, client, on_workers):
    result = run(sessions, specs=[TaskSpec("where", "planning_tasks.Unsendable")], client=client)
    assert result.is_success, result.sessions[0].failures
    assert int((sessions[0] / "planned_by").read_text()) == os.getpid()


def test_a_session_that_another_run_holds_is_put_last_and_tried_again(sessions, client, on_workers, monkeypatch):
    held, free = threading.Event(), threading.Event()
    finished = []

    def hold():
        with holding(sessions[0] / "ibl_dask" / "lock.json"):
            held.set()
            free.wait(60)

    def listen(event):
        if type(event).__name__ == "SessionFinished":
            finished.append(event.session[-3:])
            free.set()
            keeper.join()

    keeper = threading.Thread(target=hold)
    keeper.start()
    held.wait(60)
    result = run(sessions, specs=[noting("x")], client=client, listeners=[listen])
    keeper.join()
    assert [outcome.state for outcome in result.sessions] == ["done"] * 3
    assert finished[-1] == "001"


@pytest.mark.parametrize("where", ["here", "on workers"])
def test_records_are_read_from_the_journal_and_a_session_keeps_none(session_folder, client, monkeypatch, where):
    monkeypatch.setattr(task_calls, "MOST_SLOTS_SERVED", 0 if where == "on workers" else 100)
    result = run([session_folder], client=client)
    (outcome,) = result.sessions
    assert result.exit_code == 0, outcome.failures
    records = outcome.records
    assert outcome.count("framepass", "done") == sum(
        r.status == "done" and key[0].startswith("framepass") for key, r in records.items()
    )
    assert sum(outcome.steps.values()) == len(records)
    assert not hasattr(outcome, "__dict__")
    again = run([session_folder], client=client)
    assert again.sessions[0].chunks()[0] == 0, "what was planned on a worker is found again"
    for label in ("left", "right", "body"):
        assert np.load(session_folder / "alf" / f"_ibl_{label}Camera.times.npy").size


def test_a_step_that_a_later_task_shares_is_not_run_again(sessions, client):
    specs = [TaskSpec("one", "turn_tasks.Noting", {"label": "same"})]
    specs.append(TaskSpec("two", "turn_tasks.Noting", {"label": "same"}, ("one",)))
    for options in ({}, {"client": client}):
        result = run([sessions[0]], specs=specs, **options)
        assert result.is_success
        ended = [e for e in read_journal(result.journal) if e["event"] == "StepFinished"]
        assert [e["record"]["key"][0] for e in ended] == ["note-same", "report"]


def test_tasks_are_dropped_of_what_they_remember_once_they_ended(sessions):
    task = Task(sessions[0])
    answer = task_calls.call_task(task, "conclude", {})
    assert str(answer.status) == "Empty"
    assert task.records == {}
