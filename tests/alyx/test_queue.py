"""The queue, end to end: rows of a fake Alyx are claimed, run and ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from described import described
from seven_tasks import MENDED, SEVEN

from ibl_dask.alyx.claims import read_claim
from ibl_dask.alyx.coordinator import Coordinator
from ibl_dask.alyx.queue_feed import QueueFeed
from ibl_dask.alyx.repository import Place
from ibl_dask.alyx.run_pass import run_pass
from ibl_dask.alyx.task_queue import rows_of
from ibl_dask.model.status import Status

PLACE = Place("cortexlab_local", ("cortexlab",))


class Direct:
    def __init__(self, alyx) -> None:
        self.alyx, self.seen = alyx, []

    def put(self, result) -> None:
        self.seen.append((result.task_id, result.status))
        self.alyx.change("tasks", result.task_id, {"status": str(result.status), "log": result.log})

    def is_spooled(self, task: str) -> bool:
        return False


@pytest.fixture
def subjects(tmp_path: Path) -> Path:
    return tmp_path / "Subjects"


@pytest.fixture
def seven(fake, tmp_path):
    """A session with the seven little tasks: its folder and their identifiers by name."""
    path = described(tmp_path, "SW_001/2026-11-20/001")
    eid = fake.world.add_session("SW_001")
    ids: dict[str, str] = {}
    for level, (name, parents) in enumerate(SEVEN.items()):
        ids[name] = fake.world.add_task(
            eid, name, executable=f"seven_tasks.{name}", parents=[ids[p] for p in parents], level=level // 5
        )
    return path, ids


def one_pass(alyx, subjects: Path, **options) -> tuple[QueueFeed, Direct]:
    outbox = Direct(alyx)
    with Coordinator(alyx, PLACE, subjects / ".ibl_dask") as coordinator:
        coordinator.sweep()
        feed = QueueFeed(
            coordinator,
            outbox,
            subjects,
            lambda: rows_of(alyx, PLACE, Status.WAITING),
            ["seven_tasks", "ibl_dask.tasks"],
            **options,
        )
        run_pass(feed)
    assert not feed.errors
    return feed, outbox


def statuses(fake, ids: dict[str, str]) -> dict[str, str]:
    return {name: fake.world.tasks[key]["status"] for name, key in ids.items()}


FIRST = {
    "TaskDone": "Complete",
    "TaskEmpty": "Empty",
    "TaskFails": "Errored",
    "TaskIncomplete": "Incomplete",
    "TaskLocked": "Waiting",
    "ChildOfDone": "Complete",
    "ChildOfFailed": "Held",
}


def test_seven_tasks_end_in_the_states_of_the_reference(fake, alyx, seven, subjects: Path) -> None:
    _, ids = seven
    one_pass(alyx, subjects)
    assert statuses(fake, ids) == FIRST
    assert "something dumb happened" in fake.world.tasks[ids["TaskFails"]]["log"]


def test_a_held_child_is_released_once_its_parent_was_mended(fake, alyx, seven, subjects: Path) -> None:
    path, ids = seven
    one_pass(alyx, subjects)
    (path / MENDED).touch()
    fake.world.tasks[ids["TaskFails"]]["status"] = "Waiting"  # as a person does in Alyx
    one_pass(alyx, subjects)
    assert statuses(fake, ids)["TaskFails"] == "Complete"
    one_pass(alyx, subjects)
    assert statuses(fake, ids) == {**FIRST, "TaskFails": "Complete", "ChildOfFailed": "Complete"}
