"""Decisions about rows, without a server: states, claims, classes that may run, and what is sent."""

from __future__ import annotations

import contextlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.alyx.allowed import allowed_packages, require_allowed
from ibl_dask.alyx.claims import Claim, is_orphan, read_claim, without_claim
from ibl_dask.alyx.row_states import RELEASING, judge, ready_together, released, status_after
from ibl_dask.alyx.task_queue import select
from ibl_dask.alyx.task_row import MAX_TIME_OUT_SECS, TaskRow, body_of
from ibl_dask.errors import UsageError
from ibl_dask.model.status import Status
from ibl_dask.model.task import TaskSpec

SESSION = "f9502295-bd4c-4643-99a6-99278d7d75ac"


def identifier(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def row(number: int = 0, status: Status = Status.WAITING, parents: tuple[int, ...] = (), **fields) -> TaskRow:
    return TaskRow(
        identifier(number), f"Task{number}", "a.B", SESSION, status, tuple(map(identifier, parents)), {}, **fields
    )


@pytest.mark.parametrize(
    ("code", "outputs", "wanted"),
    [
        (0, ["a"], "Complete"),
        (0, [], "Complete"),
        (0, None, "Empty"),
        (-1, ["a"], "Errored"),
        (-1, None, "Errored"),
        (-2, None, "Waiting"),
        (-3, ["a"], "Incomplete"),
        (-3, None, "Incomplete"),
    ],
)
def test_code_and_outputs_determine_the_status(code: int, outputs: list[str] | None, wanted: str) -> None:
    assert status_after(code, outputs) == wanted


@st.composite
def decks(draw) -> list[TaskRow]:
    n = draw(st.integers(1, 9))
    rows = []
    for number in range(n):
        parents = draw(st.sets(st.integers(0, n), max_size=3)) - {number}  # later ones, and one that is not there
        rows.append(row(number, draw(st.sampled_from(list(Status))), tuple(parents)))
    return rows


@given(decks())
def test_a_row_runs_only_after_parents_that_let_it(deck: list[TaskRow]) -> None:
    statuses = {each.id: each.status for each in deck}
    waiting = [each for each in deck if each.status is Status.WAITING]
    ready, held = ready_together(waiting, statuses)
    assert sorted(each.id for each in [*ready, *held]) == sorted(each.id for each in waiting)
    done = {key for key, status in statuses.items() if status in RELEASING}
    for each in ready:
        assert set(each.parents) <= done
        done.add(each.id)
    for each in held:
        assert not set(each.parents) <= done


@given(decks())
def test_a_held_row_is_released_if_and_only_if_all_parents_ended_well(deck: list[TaskRow]) -> None:
    statuses = {each.id: each.status for each in deck}
    free = released(deck, statuses)
    for each in deck:
        is_free = all(statuses.get(parent) in (Status.COMPLETE, Status.INCOMPLETE) for parent in each.parents)
        assert (each in free) == (each.status is Status.HELD and is_free)
        assert (judge(each, statuses) == "run") == is_free


def test_two_rows_of_one_name_do_not_run_in_one_pass() -> None:
    twins = [row(1), TaskRow(identifier(2), "Task1", "a.B", SESSION, Status.WAITING, (), {"x": 1})]
    ready, held = ready_together(twins, {})
    assert len(ready) == 1
    assert held == []


@given(st.text())
def test_a_claim_is_read_back_and_leaves_the_log_as_it_was(log: str) -> None:
    claim = Claim("host", "mark", "42", "/a/lock")
    before = without_claim(log)
    text = claim.to_log(log)
    assert read_claim(text) == claim
    assert without_claim(text) == before


@pytest.mark.parametrize("log", ["", "ibl_dask claim {", "ibl_dask claim []", 'ibl_dask claim {"a": 1}', "claim"])
def test_a_log_without_a_claim_names_no_owner(log: str) -> None:
    assert read_claim(log) is None


def test_only_rows_of_dead_owners_are_orphans() -> None:
    mine, before = Claim("h", "p", "", "/lock"), Claim("h", "q", "", "/lock")
    started = {"status": Status.STARTED, "datetime": "2026-01-01T00:00:00"}
    assert is_orphan(row(log=before.to_log(), **started), mine)
    assert is_orphan(row(log=mine.to_log(), **started), mine), "the end of its run could not be noted"
    assert not is_orphan(row(log=mine.to_log(), **started), mine, {identifier(0)})
    assert not is_orphan(row(log=before.to_log()), mine)
    assert not is_orphan(row(**started), mine)
    assert is_orphan(row(**started), mine, lease_s=60.0)
    assert not is_orphan(row(**started), mine, lease_s=60.0, now_s=1767225600.0 + 7200)


@pytest.mark.parametrize(
    "executable", ["ibllib.pipes.video_tasks.VideoCompress", "ibl_dask.tasks.x.Y", "mpci.tasks.Z", "my_lab.a.B"]
)
def test_classes_of_the_field_and_of_named_packages_may_run(executable: str) -> None:
    require_allowed(executable, allowed_packages(["my_lab"]))


@pytest.mark.parametrize(
    "executable",
    [
        "os.system",
        "ibl_dask.cli.app.main",
        "ibllib",
        "my_laboratory.a.B",
        "ibllib.x; import os",
        "",
        "a..b",
        "ibllib.\n",
    ],
)
def test_no_other_class_may_run(executable: str) -> None:
    with pytest.raises(UsageError):
        require_allowed(executable, allowed_packages(["my_lab"]))


@given(st.dictionaries(st.sampled_from(["id", "session", "name", "executable", "arguments", "status", "parents", "cpu",
                                        "priority", "log", "ram"]),
                       st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2),
                                 st.just(SESSION), st.just("Waiting"))))  # fmt: skip
def test_any_row_is_read_or_refused_with_a_reason(content: dict[str, object]) -> None:
    with contextlib.suppress(UsageError):
        found = TaskRow.read(content)
        assert found.spec().name == found.name


@pytest.mark.parametrize("content", [None, [], "row", 3])
def test_what_is_no_row_is_refused(content: object) -> None:
    with pytest.raises(UsageError):
        TaskRow.read(content)


def test_a_new_row_has_a_status_and_arguments_and_fits_into_alyx() -> None:
    body = body_of(TaskSpec("T", "a.B", time_out_secs=10**6), SESSION, [], None)
    assert body["status"] == "Waiting"
    assert body["arguments"] == {}
    assert body["time_out_secs"] == MAX_TIME_OUT_SECS
    with pytest.raises(UsageError, match="64 characters"):
        body_of(TaskSpec("T" * 65, "a.B"), SESSION, [], None)


def test_a_queue_is_ordered_by_urgency_and_filtered_by_size_and_environment() -> None:
    video = "ibllib.pipes.video_tasks."
    rows = [
        {"name": name, "executable": video + name, "priority": priority}
        for name, priority in (("DLC", 30), ("VideoCompress", 90), ("VideoRegisterRaw", 100), ("VideoConvert", 90))
    ]
    names = lambda found: [each["name"] for each in found]  # noqa: E731
    assert names(select(rows)) == ["VideoRegisterRaw", "VideoCompress", "VideoConvert", "DLC"]
    assert names(select(rows, "large", (None,))) == ["VideoCompress"]
    assert names(select(rows, "small")) == ["VideoRegisterRaw", "VideoConvert"]
    assert names(select(rows, env=("dlc",))) == ["DLC"]
    with pytest.raises(UsageError, match="write large"):
        select(rows, "larrge")


def test_listing_a_queue_imports_no_module_that_a_row_names(tmp_path, monkeypatch) -> None:
    (tmp_path / "stranger.py").write_text("raise SystemExit('it was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    rows = [{"name": "a", "executable": "stranger.Task", "priority": 1}]
    assert select(rows, "small") == []
    assert select(rows, "all") == rows
    assert "stranger" not in sys.modules
