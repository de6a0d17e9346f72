"""Rows that cannot run keep none of the others from running."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from described import described

from ibl_dask.alyx.allowed import allowed_packages
from ibl_dask.alyx.claims import Claim, read_claim
from ibl_dask.alyx.coordinator import Coordinator
from ibl_dask.alyx.outbox import SpoolOutbox
from ibl_dask.alyx.put_off import PutOff
from ibl_dask.alyx.queue_feed import QueueFeed
from ibl_dask.alyx.repository import Place
from ibl_dask.alyx.run_pass import run_pass
from ibl_dask.alyx.task_queue import rows_of
from ibl_dask.errors import SessionLocked
from ibl_dask.model.status import Status

PLACE = Place("cortexlab_local", ("cortexlab",))


@pytest.fixture
def subjects(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("IBL_DASK_TASK_PACKAGES", "seven_tasks")
    return tmp_path / "Subjects"


def one_pass(alyx, subjects: Path, put_off: PutOff | None = None) -> QueueFeed:
    outbox = SpoolOutbox(alyx, subjects / ".ibl_dask", "cortexlab_local")
    with Coordinator(alyx, PLACE, subjects / ".ibl_dask", spooled=outbox.spooled) as coordinator:
        coordinator.sweep()
        feed = QueueFeed(
            coordinator,
            outbox,
            subjects,
            lambda: rows_of(alyx, PLACE, Status.WAITING),
            allowed_packages(),
            put_off=put_off,
        )
        if feed.begin():
            run_pass(feed)
        outbox.send_all()
    return feed


def good_row(fake, tmp_path: Path) -> str:
    described(tmp_path, "SW_001/2026-11-20/001")
    return fake.world.add_task(
        fake.world.add_session("SW_001"), "TaskDone", executable="seven_tasks.TaskDone", priority=1
    )


POISON = {
    "class of another package": ("Waiting", {"executable": "os.system"}),
    "class that is not there": ("Errored", {"executable": "seven_tasks.NoSuchTask"}),
    "no dotted path": ("Waiting", {"executable": "__import__('os').system('touch /tmp/x')"}),
    "arguments that are a list": ("Waiting", {"executable": "seven_tasks.TaskDone", "arguments": [1]}),
    "an argument that leads out": (
        "Errored", {"executable": "seven_tasks.TaskDone", "arguments": {"collection": "../../x"}},
    ),
    "an environment that is not here": (
        "Waiting", {"executable": "ibllib.pipes.behavior_tasks.ChoiceWorldTrialsBpod"},
    ),
    "a parent that is not there": (
        "Held", {"executable": "seven_tasks.TaskDone", "parents": ["0" * 8 + "-1111-4222-8333-" + "4" * 12]},
    ),
}  # fmt: skip
"""Row -> its status afterwards: one that another server may run is left to it, and an error of the row is shown."""


@pytest.mark.parametrize(("wanted", "fields"), POISON.values(), ids=POISON)
def test_a_poisoned_row_keeps_no_other_from_running(
    fake, alyx, subjects: Path, tmp_path: Path, wanted: str, fields
) -> None:
    described(tmp_path, "TST_001/2026-11-20/001")
    bad = fake.world.add_task(fake.world.add_session("TST_001"), "Poison", priority=99, **fields)
    good = good_row(fake, tmp_path)
    put_off = PutOff()
    feed = one_pass(alyx, subjects, put_off)
    assert fake.world.tasks[good]["status"] == "Complete"
    assert fake.world.tasks[bad]["status"] == wanted
    assert feed.n_registered == 1
    n_changes = sum(method == "PATCH" for method, *_ in fake.requests)
    one_pass(alyx, subjects, put_off)
    assert sum(method == "PATCH" for method, *_ in fake.requests) == n_changes, "it is tried on and on"


def test_a_session_that_is_not_here_or_leads_out_is_left(fake, alyx, subjects: Path, tmp_path: Path, caplog) -> None:
    away = fake.world.add_task(fake.world.add_session("TST_002"), "TaskDone", executable="seven_tasks.TaskDone")
    fake.world.add_subject("..")
    out = fake.world.add_task(fake.world.add_session(".."), "TaskDone", executable="seven_tasks.TaskDone")
    good = good_row(fake, tmp_path)
    with caplog.at_level(logging.WARNING):
        one_pass(alyx, subjects)
    assert fake.world.tasks[good]["status"] == "Complete"
    assert {fake.world.tasks[key]["status"] for key in (away, out)} == {"Waiting"}
    assert "does not exist" in caplog.text
    assert "does not stay inside" in caplog.text


def test_a_row_without_a_status_spoils_no_other_list(fake, alyx, subjects: Path, tmp_path: Path) -> None:
    good = good_row(fake, tmp_path)
    fake.world.add_task(fake.world.tasks[good]["session"], "Broken", status=10)
    one_pass(alyx, subjects)
    assert fake.world.tasks[good]["status"] == "Complete"


def test_a_broken_task_class_fails_alone(fake, alyx, subjects: Path, tmp_path: Path) -> None:
    described(tmp_path, "TST_001/2026-11-20/001")
    bad = fake.world.add_task(fake.world.add_session("TST_001"), "TaskFails", executable="seven_tasks.TaskFails")
    good = good_row(fake, tmp_path)
    one_pass(alyx, subjects)
    assert fake.world.tasks[bad]["status"] == "Errored"
    assert fake.world.tasks[good]["status"] == "Complete"


# -- owners ---------------------------------------------------------------------------------------------------------


def test_orphans_of_an_earlier_coordinator_wait_again_and_others_stay(fake, alyx, subjects: Path) -> None:
    with Coordinator(alyx, PLACE, subjects / ".ibl_dask") as earlier:
        place = earlier.mine.place
    eid = fake.world.add_session("SW_001")
    mine = fake.world.add_task(eid, "A", status="Started", log=Claim("host", "x", "", place).to_log("before"))
    theirs = fake.world.add_task(eid, "B", status="Started", log="")
    elsewhere = fake.world.add_task(eid, "C", status="Started", log=Claim("host", "x", "", "/other/lock").to_log())
    with Coordinator(alyx, PLACE, subjects / ".ibl_dask") as coordinator:
        assert [row.id for row in coordinator.return_orphans()] == [mine]
    assert fake.world.tasks[mine]["status"] == "Waiting"
    assert fake.world.tasks[mine]["log"].startswith("before")
    assert read_claim(fake.world.tasks[mine]["log"]) is None
    assert {fake.world.tasks[key]["status"] for key in (theirs, elsewhere)} == {"Started"}


def test_a_lease_returns_rows_of_runners_that_leave_no_claim(fake, alyx, subjects: Path) -> None:
    eid = fake.world.add_session("SW_001")
    old = fake.world.add_task(eid, "A", status="Started", datetime="2026-01-01T00:00:00", time_out_secs=60)
    fresh = fake.world.add_task(eid, "B", status="Started")
    with Coordinator(alyx, PLACE, subjects / ".ibl_dask", lease_s=3600) as coordinator:
        coordinator.return_orphans()
    assert fake.world.tasks[old]["status"] == "Waiting"
    assert fake.world.tasks[fresh]["status"] == "Started"


def test_a_result_in_the_spool_is_no_orphan(fake, alyx, subjects: Path, tmp_path: Path) -> None:
    good = good_row(fake, tmp_path)
    outbox = SpoolOutbox(alyx, subjects / ".ibl_dask", "cortexlab_local")
    with Coordinator(alyx, PLACE, subjects / ".ibl_dask", spooled=outbox.spooled) as coordinator:
        feed = QueueFeed(
            coordinator, outbox, subjects, lambda: rows_of(alyx, PLACE, Status.WAITING), allowed_packages()
        )
        run_pass(feed)
    assert fake.world.tasks[good]["status"] == "Started"
    again = SpoolOutbox(alyx, subjects / ".ibl_dask", "cortexlab_local")
    with Coordinator(alyx, PLACE, subjects / ".ibl_dask", spooled=again.spooled) as coordinator:
        assert coordinator.return_orphans() == []
        again.send_all()
        assert coordinator.return_orphans() == []
    assert fake.world.tasks[good]["status"] == "Complete"


def test_a_second_coordinator_of_a_repository_is_refused(alyx, fake, subjects: Path) -> None:
    with Coordinator(alyx, PLACE, subjects), pytest.raises(SessionLocked), Coordinator(alyx, PLACE, subjects):
        pass


def test_held_rows_are_released_by_parents_of_any_session_and_never_by_half(fake, alyx, subjects: Path) -> None:
    eid, other = fake.world.add_session("SW_001"), fake.world.add_session("TST_001")
    far = fake.world.add_task(other, "Far", status="Incomplete")
    near = fake.world.add_task(eid, "Near", status="Errored")
    both = fake.world.add_task(eid, "Both", status="Held", parents=[far, near])
    free = fake.world.add_task(eid, "Free", status="Held", parents=[far])
    with Coordinator(alyx, PLACE, subjects) as coordinator:
        assert [row.id for row in coordinator.release_held()] == [free]
        assert fake.world.tasks[both]["status"] == "Held"
        fake.world.tasks[near]["status"] = "Complete"
        assert [row.id for row in coordinator.release_held()] == [both]


def test_alyx_that_goes_away_meanwhile_costs_no_result(fake, alyx, subjects: Path, tmp_path: Path) -> None:
    good = good_row(fake, tmp_path)
    outbox = SpoolOutbox(alyx, subjects / ".ibl_dask", "cortexlab_local")
    with Coordinator(alyx, PLACE, subjects / ".ibl_dask", spooled=outbox.spooled) as coordinator:
        feed = QueueFeed(
            coordinator, outbox, subjects, lambda: rows_of(alyx, PLACE, Status.WAITING), allowed_packages()
        )
        assert feed.begin()
        fake.stop()
        began_s = time.monotonic()
        run_pass(feed)
        assert time.monotonic() - began_s < 60
    fake.start()
    outbox.send_all()
    assert fake.world.tasks[good]["status"] == "Complete"
    assert fake.world.files_of(fake.world.tasks[good]["session"]) == ["alf/TaskDone/wheel.position.npy"]


def test_a_claim_whose_answer_is_lost_does_not_run_and_waits_again(fake, alyx, subjects: Path, tmp_path: Path) -> None:
    good = good_row(fake, tmp_path)
    fake.faults.plan("drop_after", "PATCH", f"/tasks/{good}", times=alyx.limits.backoff.most_tries)
    feed = one_pass(alyx, subjects)
    assert feed.n_registered == 0
    assert fake.world.tasks[good]["status"] == "Waiting"
    one_pass(alyx, subjects)
    assert fake.world.tasks[good]["status"] == "Complete"
