"""When tasks start: each once its own parents ended, and what holds it back or excuses it."""

import pytest

from ibl_dask.cli.run import print_outcome
from ibl_dask.cli.status import show_status
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.run import run
from ibl_dask.pipeline.run_outcome import rows
from ibl_dask.report.session_rows import bad_tasks
from ibl_dask.report.status_view import session_row
from ibl_dask.store.journal import read_journal
from ibl_dask.store.run_folder import RunFolder
from ibl_dask.store.run_summary import read_summary


def task(label, *parents, kind="Noting", seconds=0.0, how="Complete", **more):
    return TaskSpec(label, f"turn_tasks.{kind}", {"label": label, "seconds": seconds, "how": how, **more}, parents)


def foreign(label, *parents, kind="Trials"):
    return TaskSpec(label, f"ibllib.pipes.behavior_tasks.{kind}", {}, parents)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.setattr("ibl_dask.tasks.external.environments.find_spec", lambda name: None)
    monkeypatch.delenv("IBL_DASK_PYTHON_IBLLIB", raising=False)


@pytest.mark.parametrize(
    "specs",
    [
        [foreign("Trials"), task("video"), foreign("Status", "Trials", kind="Status")],
        [foreign("Trials"), task("bad", how="Errored"), task("child", "bad")],
        [task("none", how="Empty"), task("child", "none")],
    ],
    ids=["waiting", "failed", "empty"],
)
def test_the_journal_names_the_same_tasks_as_required_as_the_result(session, specs):
    result = run([session], specs=specs)
    (row,) = rows(result)
    (read,) = [session_row(progress) for progress in read_summary(RunFolder(result.name, result.journal)).rows]
    assert sorted(read["not_required"]) == row["not_required"]
    assert bad_tasks(read) == bad_tasks(row)


@pytest.fixture
def session(tmp_path):
    folder = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    folder.mkdir(parents=True)
    (folder / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    return folder


def noted(session, name):
    return float((session / "notes" / name).read_text())


def states(result):
    return {name: str(status) for name, status in result.sessions[0].tasks.items()}


def test_a_task_waits_for_its_own_parents_and_for_nobody_else(session, client):
    specs = [
        task("slow", until="grandchild.end"),
        task("quick", seconds=0.1),
        task("child", "quick", seconds=0.1),
        task("grandchild", "child", seconds=0.1),
        task("both", "slow", "child"),
    ]
    result = run([session], specs=specs, client=client)
    assert result.exit_code == 0, states(result)
    assert list(states(result).items()) == [(spec.name, "Complete") for spec in result_order(specs)]
    assert noted(session, "quick.end") < noted(session, "child.planned") < noted(session, "child.begin")
    assert noted(session, "child.end") < noted(session, "grandchild.planned")
    assert noted(session, "grandchild.end") < noted(session, "slow.end") < noted(session, "both.planned")


def result_order(specs):
    from ibl_dask.model.task import sort_specs

    return sort_specs(specs)


@pytest.mark.parametrize("how", ["Errored", "Unplannable"])
@pytest.mark.parametrize("where", ["here", "on a cluster"])
def test_a_task_that_fails_holds_its_children_alone(session, request, how, where):
    specs = [task("bad", how=how), task("other"), task("child", "bad"), task("grandchild", "child"), task("b", "other")]
    options = {} if where == "here" else {"client": request.getfixturevalue("client")}
    result = run([session], specs=specs, **options)
    assert result.exit_code == 1
    assert states(result) == {
        "bad": "Errored",
        "other": "Complete",
        "child": "Held",
        "grandchild": "Held",
        "b": "Complete",
    }
    (failure,) = result.sessions[0].failures
    assert "bad" in failure.message
    assert "bad (Errored)" in result.sessions[0].reasons["child"].message
    assert "child (Held)" in result.sessions[0].reasons["grandchild"].message
    assert not (session / "notes" / "child.planned").exists()
    assert result.sessions[0].report is not None
    told = {e["task"]: e for e in read_journal(result.journal) if e["event"] == "TaskFinished"}
    assert told["child"]["status"] == "Held"
    assert "bad (Errored)" in told["child"]["failures"][0]["message"]


def test_a_child_that_copes_without_a_parent_starts_when_that_ended(session, client):
    specs = [task("bad", how="Errored", seconds=0.5), task("hardy", "bad", kind="Hardy"), task("child", "hardy")]
    result = run([session], specs=specs, client=client)
    assert states(result) == {"bad": "Errored", "hardy": "Complete", "child": "Complete"}
    assert noted(session, "bad.begin") + 0.5 <= noted(session, "hardy.planned")
    assert result.exit_code == 1


def test_nothing_to_do_is_a_success_and_holds_what_would_read_it(session):
    result = run([session], specs=[task("none", how="Empty"), task("child", "none"), task("other")])
    assert states(result) == {"none": "Empty", "child": "Held", "other": "Complete"}
    assert result.sessions[0].not_required == {"child"}
    assert result.exit_code == 0


def test_what_only_waits_for_an_environment_is_told_and_costs_no_exit_code(session, capsys):
    specs = [foreign("Trials"), foreign("Status", "Trials", kind="Status"), task("video"), task("child", "video")]
    result = run([session], specs=specs)
    assert states(result) == {"Trials": "Waiting", "video": "Complete", "Status": "Held", "child": "Complete"}
    assert result.exit_code == 0
    (row,) = rows(result)
    assert "IBL_DASK_PYTHON_IBLLIB" in row["waiting"]["Trials"].message
    assert row["not_required"] == ["Status", "Trials"]
    assert row["failures"] == []
    told = {e["task"]: e for e in read_journal(result.journal) if e["event"] == "TaskFinished"}
    assert told["Trials"]["failures"][0]["category"] == "environment"
    print_outcome(result)
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 session, all well" in printed
    assert "waits: no environment" in printed
    assert "task: Trials" in printed
    assert "export IBL_DASK_PYTHON_IBLLIB=" in printed
    assert show_status(result.journal.parents[1], failed_only=False) == 0
    assert "export IBL_DASK_PYTHON_IBLLIB=" in capsys.readouterr().out


def test_asked_for_by_name_what_waits_for_an_environment_is_a_failure(session):
    specs = [foreign("Trials"), foreign("Status", "Trials", kind="Status"), task("video")]
    result = run([session], specs=specs, tasks=["Trials", "video"])
    assert states(result) == {"Trials": "Waiting", "video": "Complete"}
    assert result.exit_code == 1
    assert "IBL_DASK_PYTHON_IBLLIB" in result.sessions[0].failures[0].message


def test_a_parent_that_is_not_part_of_the_run_holds_nobody(session):
    result = run([session], specs=[task("parent", how="Errored"), task("child", "parent")], tasks=["child"])
    assert states(result) == {"child": "Complete"}
    assert result.exit_code == 0


def test_a_task_that_cannot_be_loaded_fails_alone(session):
    specs = [TaskSpec("broken", "turn_tasks.Nothing"), TaskSpec("odd", "turn_tasks.Noting", {"no": 1, "label": []})]
    result = run([session], specs=[*specs, task("signature", kind="Odd"), task("other"), task("child", "broken")])
    assert states(result)["broken"] == "Errored"
    assert states(result)["child"] == "Held"
    assert states(result)["other"] == "Complete"
    assert states(result)["signature"] == states(result)["odd"] == "Errored"
    assert "what it promises is unknown" in "".join(failure.message for failure in result.sessions[0].failures)
    assert len([e for e in read_journal(result.journal) if e["event"] == "SessionFinished"]) == 1
    assert "turn_tasks.Nothing cannot be loaded" in result.sessions[0].failures[0].message
    assert result.exit_code == 1


def test_two_tasks_that_need_one_step_share_it(session):
    specs = [TaskSpec(name, "turn_tasks.Noting", {"label": "same"}) for name in ("one", "two")]
    result = run([session], specs=specs)
    assert states(result) == {"one": "Complete", "two": "Complete"}
    assert len([key for key in result.sessions[0].records if key[0] == "note-same"]) == 1


@pytest.mark.parametrize(
    ("how", "status", "child"),
    [
        ("outputs", "Complete", "Complete"),
        ("empty list", "Complete", "Complete"),
        ("nothing", "Empty", "Held"),
        ("error", "Errored", "Held"),
        ("-1", "Errored", "Held"),
        ("-2", "Waiting", "Held"),
        ("-3", "Incomplete", "Complete"),
    ],
)
def test_states_and_released_children_are_those_of_the_field(session, how, status, child):
    """As in `run_alyx_task` of the reference; a child that is held names the parent that blocks it."""
    specs = [TaskSpec("parent", "turn_tasks.Ends", {"how": how}), task("child", "parent")]
    result = run([session], specs=specs)
    assert states(result) == {"parent": status, "child": child}
    if child == "Held":
        reason = result.sessions[0].reasons["child"]
        assert (reason.kind, reason.got) == ("Held", f"parent ({status})")
