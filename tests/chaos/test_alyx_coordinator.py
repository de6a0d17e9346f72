"""A coordinator of the queue that is killed at random moments, while Alyx fails, is slow, throttles and goes away.

`IBL_DASK_CHAOS_ROWS` sets the number of tasks (20 by default, 500 in the long form), `IBL_DASK_CHAOS_SEED` the seed. In
the long form sessions have 20 tasks, as those of the field, and requests are counted.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from described import described
from fake_alyx import FakeAlyx

from ibl_dask.alyx.claims import read_claim
from ibl_dask.alyx.spool import Spool

HELPERS = Path(__file__).parents[1] / "helpers"
IS_LONG = int(os.environ.get("IBL_DASK_CHAOS_SESSIONS", "4")) > 4
N_ROWS = int(os.environ.get("IBL_DASK_CHAOS_ROWS", "500" if IS_LONG else "20"))
SEED = int(os.environ.get("IBL_DASK_CHAOS_SEED", "0"))
PER_SESSION, PATIENCE_S = 20 if IS_LONG else 5, 240.0
N_KILLS = 3 if IS_LONG else 2
LONGEST_LIFE = N_ROWS if IS_LONG else 60
"""Requests until a kill, at most."""
TROUBLE = {
    "500": 0.02,
    "502": 0.02,
    "drop_before": 0.02,
    "drop_after": 0.02,
    "hang_before": 0.003,
    "hang_after": 0.003,
    "throttle": 0.02,
}
THEIRS = {"_task_stimOn_delays": 0.98}
"""A key of checks of another program."""

pytestmark = pytest.mark.chaos


def fill(fake: FakeAlyx, root: Path) -> list[str]:
    ids = []
    for n in range(N_ROWS // PER_SESSION):
        described(root, f"SW_{n:03}/2026-11-20/001")
        eid = fake.world.add_session(f"SW_{n:03}", extended_qc=dict(THEIRS))
        parent = fake.world.add_task(eid, "TaskDone", executable="seven_tasks.TaskDone")
        ids.append(parent)
        for each in range(PER_SESSION - 1):
            fields = {"arguments": {"n": each}, "parents": [parent], "level": 1}
            ids.append(
                fake.world.add_task(eid, f"Child_{each}", executable="seven_tasks.VideoSyncQcNumbered", **fields)
            )
    return ids


def start(fake: FakeAlyx, root: Path) -> subprocess.Popen:
    command = [sys.executable, str(HELPERS / "alyx_server_process.py"), fake.url, str(root / "Subjects")]
    with (root / "errors.txt").open("a") as errors:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)


@pytest.fixture
def fake():
    with FakeAlyx() as server:
        yield server


def be_away(fake: FakeAlyx, for_s: float) -> None:
    """Refuse connections for a while, and break those that exist."""
    fake.stop()
    time.sleep(for_s)
    fake.start()


def ends_within(fake: FakeAlyx, process: subprocess.Popen, n_requests: int, end_s: float) -> bool:
    """Return whether a process ends before a number of requests and a time."""
    until = fake.n_requests() + n_requests
    while process.poll() is None and fake.n_requests() < until and time.monotonic() < end_s:
        time.sleep(0.01)
    return process.poll() is not None


def note_lost_calls(fake: FakeAlyx) -> list[str]:
    """Return a list that grows by each registration that is carried out, and whose answer is lost."""
    lost: list[str] = []
    usual = fake.faults.draw

    def draw(method: str, path: str) -> str:
        kind = usual(method, path)
        if path == "/register-file" and kind.endswith("_after"):
            lost.append(kind)
        return kind

    fake.faults.draw = draw
    return lost


def test_killed_coordinators_leave_no_row_without_an_owner(fake: FakeAlyx, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    ids = fill(fake, tmp_path)
    fake.faults.__init__(SEED, TROUBLE, hang_s=1.2, retry_after="0.05")
    fake.faults.plan("hang_after", "PATCH", "/tasks/")  # a claim and a registration, whatever chance brings
    fake.faults.plan("drop_after", "POST", "/register-file")
    lost_calls = note_lost_calls(fake)
    tasks, errors = fake.world.tasks, tmp_path / "errors.txt"
    n_kills, n_lives, end_s = 0, 0, time.monotonic() + PATIENCE_S
    while any(tasks[key]["status"] != "Complete" for key in ids):
        states = Counter(tasks[key]["status"] for key in ids)
        assert time.monotonic() < end_s, (states, n_kills, SEED, errors.read_text()[-3000:])
        process = start(fake, tmp_path)
        outage = threading.Timer(chance.uniform(1.0, 3.0), be_away, (fake, chance.uniform(0.1, 0.6)))
        if n_lives % 2 == 0:
            outage.start()
        n_lives += 1
        # It also ends by itself, as under cron, where nothing can be claimed for the moment.
        n_requests = chance.randrange(5, LONGEST_LIFE) if n_kills < N_KILLS else 10**6
        if not ends_within(fake, process, n_requests, end_s):
            os.killpg(process.pid, signal.SIGKILL)
            n_kills += 1
        code = process.wait()
        if outage.ident is not None:
            outage.join()
        assert code in (0, -signal.SIGKILL), errors.read_text()[-3000:]
        started = [row for row in tasks.values() if row["status"] == "Started"]
        assert all(read_claim(row["log"] or "") is not None for row in started), "a row without an owner"

    met, n_requests = dict(fake.faults.n_met), fake.n_requests()
    fake.faults.rates = {}
    assert start(fake, tmp_path).wait(PATIENCE_S) == 0  # the last one may have been killed before it put things away
    spool = Spool(tmp_path / "Subjects" / ".ibl_dask" / "alyx")
    assert spool.pending() == spool.dead() == []
    sent = Counter((row["session"], row["task"]) for row in spool.sent().values() if row["status"] == "Complete")
    assert set(sent.values()) == {1}, "a row whose result is in the spool ran once more"
    assert len(sent) == N_ROWS
    files = [f"alf/task_{n:02}/wheel.position.npy" for n in range(PER_SESSION - 1)]
    keys = {f"_video_{n}": n for n in range(PER_SESSION - 1)}
    for eid, session in fake.world.sessions.items():
        assert fake.world.files_of(eid) == ["alf/TaskDone/wheel.position.npy", *files], SEED
        assert session["extended_qc"] == THEIRS | keys, SEED
    n_again = sum(row["n_times"] - 1 for row in fake.world.datasets.values())
    assert n_again <= PER_SESSION * (len(lost_calls) + n_kills + n_lives), "files are registered again without a reason"
    assert set(met) >= {"hang_after", "drop_after"}
    assert not list(tmp_path.rglob("*.lock.json"))
    assert n_kills > 0
    # A row that a kill left without an owner is returned and claimed once more: two requests that no program can save.
    n_returned = sum(method == "PATCH" and b'"Waiting"' in raw for method, _, _, raw in fake.requests)
    if IS_LONG:
        assert n_requests - 2 * n_returned <= 3 * N_ROWS
    about = f"{n_returned} rows returned; {n_kills} kills in {n_lives} lives; {met}"
    print(f"{n_requests / N_ROWS:.2f} requests per task, {about}")
