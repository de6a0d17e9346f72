"""Owners of started rows: which of them live is judged by locks, processes and leases, on any host and in any zone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alyx_passes import PLACE

from ibl_dask.alyx.claims import Claim
from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.coordinator import Coordinator
from ibl_dask.alyx.run_task import BY_HAND
from ibl_dask.alyx.task_row import TaskRow
from ibl_dask.model.status import Status

OWN_MARK = "from ibl_dask.store.processes import this_process; print(this_process().mark, flush=True); input()"


@pytest.fixture
def eid(fake) -> str:
    return fake.world.add_session("SW_001")


def returned(alyx: Alyx, folder: Path, **options) -> list[str]:
    with Coordinator(alyx, PLACE, folder, **options) as coordinator:
        return [row.id for row in coordinator.return_orphans()]


def claimed(fake, alyx: Alyx, folder: Path, eid: str) -> str:
    """Return a row that a coordinator of a folder claimed and left."""
    key = fake.world.add_task(eid, "A")
    with Coordinator(alyx, PLACE, folder) as coordinator:
        coordinator.claim(TaskRow.read(fake.world.tasks[key]))
    return key


def test_a_disk_of_another_host_at_the_same_path_is_another_place(fake, alyx, tmp_path: Path, eid: str) -> None:
    key = claimed(fake, alyx, tmp_path / "work", eid)
    shutil.rmtree(tmp_path / "work")  # another host has another disk there
    assert returned(alyx, tmp_path / "work") == []
    assert fake.world.tasks[key]["status"] == "Started"


def test_the_same_disk_at_another_path_is_the_same_place(fake, alyx, tmp_path: Path, eid: str) -> None:
    key = claimed(fake, alyx, tmp_path / "work", eid)
    (tmp_path / "work").rename(tmp_path / "mounted elsewhere")
    assert returned(alyx, tmp_path / "mounted elsewhere") == [key]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xff", b"0" * 31])
def test_a_damaged_identifier_of_a_place_is_made_anew(alyx, fake, tmp_path: Path, content: bytes) -> None:
    with Coordinator(alyx, PLACE, tmp_path):
        pass
    (path,) = tmp_path.glob("*.id")
    path.write_bytes(content)
    with Coordinator(alyx, PLACE, tmp_path) as coordinator:
        assert coordinator.mine.place == path.read_text() != content.decode("latin-1")


def test_a_row_of_a_process_that_ended_here_waits_again_and_one_of_a_living_process_stays(
    fake, alyx, tmp_path: Path, eid: str
) -> None:
    """So ends `run_alyx_task` that was killed: it holds no lock."""
    process = subprocess.Popen([sys.executable, "-c", OWN_MARK], stdin=-1, stdout=-1, text=True)
    try:
        mark = process.stdout.readline().strip()
        claim = replace(Claim.of_this_process(BY_HAND), process=mark)
        key = fake.world.add_task(eid, "A", status="Started", log=claim.to_log())
        other = replace(claim, host="elsewhere", process=mark.replace(mark.split("-")[-4], "0" * 12))
        away = fake.world.add_task(eid, "B", status="Started", log=other.to_log())
        assert returned(alyx, tmp_path) == []
    finally:
        process.communicate("\n")
    assert returned(alyx, tmp_path, spooled=lambda: frozenset({key})) == [], "its result waits to be sent"
    assert returned(alyx, tmp_path) == [key]
    assert fake.world.tasks[key]["status"] == "Waiting"
    assert fake.world.tasks[away]["status"] == "Started"


@pytest.mark.parametrize("zone_h", [-11.0, -8.0, 0.0, 1.0, 5.5, 13.0])
def test_a_lease_is_as_long_in_every_time_zone_of_alyx(
    fake, alyx, tmp_path: Path, eid: str, monkeypatch, zone_h: float
) -> None:
    """Times of Alyx have no offset: older settings of the field have TIME_ZONE='GB' and USE_TZ=False."""

    def text(age_h: float = 0.0) -> str:
        return (datetime.now(UTC) + timedelta(hours=zone_h - age_h)).replace(tzinfo=None).isoformat()

    monkeypatch.setattr("fake_alyx.tasks.now", text)
    fresh = fake.world.add_task(eid, "Fresh", status="Started", datetime=text(0.9), time_out_secs=60)
    old = fake.world.add_task(eid, "Old", status="Started", datetime=text(1.2), time_out_secs=60)
    waits = fake.world.add_task(eid, "Waits")
    with Coordinator(alyx, PLACE, tmp_path, lease_s=3600) as coordinator:
        assert coordinator.return_orphans() == [], "the zone is not known yet"
        coordinator.hold(TaskRow.read(fake.world.tasks[waits]))
        assert [row.id for row in coordinator.return_orphans()] == [old]
    assert fake.world.tasks[fresh]["status"] == "Started"


def test_before_a_zone_is_known_a_lease_lasts_longer_and_ends_all_the_same(fake, alyx, tmp_path: Path, eid) -> None:
    long_ago = datetime.fromtimestamp(time.time() - 28 * 3600, UTC).replace(tzinfo=None).isoformat()
    key = fake.world.add_task(eid, "Old", status=str(Status.STARTED), datetime=long_ago, time_out_secs=60)
    assert returned(alyx, tmp_path, lease_s=3600) == [key]
