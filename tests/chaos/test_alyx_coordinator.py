"""A coordinator of the queue that is killed at random moments, again and again, with Alyx failing meanwhile.

`IBL_DASK_CHAOS_ROWS` sets the number of tasks (20 by default, 100 in the long form), `IBL_DASK_CHAOS_SEED` the seed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from described import described
from fake_alyx import FakeAlyx

from ibl_dask.alyx.claims import read_claim

HELPERS = Path(__file__).parents[1] / "helpers"
IS_LONG = int(os.environ.get("IBL_DASK_CHAOS_SESSIONS", "4")) > 4
N_ROWS = int(os.environ.get("IBL_DASK_CHAOS_ROWS", "100" if IS_LONG else "20"))
SEED = int(os.environ.get("IBL_DASK_CHAOS_SEED", "0"))
PER_SESSION = 5

pytestmark = pytest.mark.chaos


def fill(fake: FakeAlyx, root: Path) -> list[str]:
    ids = []
    for n in range(N_ROWS // PER_SESSION):
        described(root, f"SW_{n:03}/2026-11-20/001")
        eid = fake.world.add_session(f"SW_{n:03}")
        parent = fake.world.add_task(eid, "TaskDone", executable="seven_tasks.TaskDone")
        ids.append(parent)
        for each in range(PER_SESSION - 1):
            name = f"Child_{each}"
            ids.append(fake.world.add_task(eid, name, executable="seven_tasks.ChildOfDone", parents=[parent], level=1))
    return ids


def start(fake: FakeAlyx, root: Path) -> subprocess.Popen:
    command = [sys.executable, str(HELPERS / "alyx_server_process.py"), fake.url, str(root / "Subjects")]
    with (root / "errors.txt").open("a") as errors:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)


@pytest.fixture
def fake():
    with FakeAlyx() as server:
        yield server


def test_killed_coordinators_leave_no_row_without_an_owner(fake: FakeAlyx, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    ids = fill(fake, tmp_path)
    fake.faults.rates = {"500": 0.02, "drop_before": 0.02, "drop_after": 0.02}
    n_kills = 0
    while True:
        process = start(fake, tmp_path)
        try:
            # Each process begins with a second of imports, and has to send what the one before it left.
            process.wait(chance.uniform(1.5, 6.0) if n_kills < N_ROWS // 10 else 120)
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            n_kills += 1
            process.wait()
            started = [row for row in fake.world.tasks.values() if row["status"] == "Started"]
            assert all(read_claim(row["log"] or "") is not None for row in started), "a row without an owner"
    errors = (tmp_path / "errors.txt").read_text()
    assert process.returncode == 0, errors[-3000:]
    states = Counter(fake.world.tasks[key]["status"] for key in ids)
    assert states == {"Complete": N_ROWS}, (states, n_kills, SEED, errors[-3000:])
    for eid in fake.world.sessions:
        files = fake.world.files_of(eid)
        assert len(files) == len(set(files)) == 2, (files, SEED)
    assert not list((tmp_path / "Subjects" / ".ibl_dask" / "alyx" / "pending").iterdir())
    assert not list(tmp_path.rglob("*.lock.json"))
