"""Results of many workers reach a troubled Alyx exactly once, though the writer is killed again and again."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from alyx_results import add_tasks, result
from fake_alyx import FakeAlyx

from ibl_dask.alyx.spool import Spool

pytestmark = pytest.mark.chaos
N_RESULTS = int(os.environ.get("IBL_DASK_CHAOS_RESULTS", "128"))
N_KILLS = int(os.environ.get("IBL_DASK_CHAOS_WRITERS", "2"))
SEED = int(os.environ.get("IBL_DASK_CHAOS_SEED", "0"))
PER_SESSION, N_WORKERS, PATIENCE_S = 8, 16, 300.0
TROUBLE = {
    "500": 0.03,
    "502": 0.02,
    "drop_before": 0.02,
    "drop_after": 0.04,
    "hang_before": 0.003,
    "hang_after": 0.003,
    "throttle": 0.02,
}
WRITER = Path(__file__).parents[1] / "helpers" / "alyx_writer.py"
TOKEN = "0" * 39 + "1"


def wait_until(reached, what):
    end_s = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < end_s, f"not in time: {what}"
        time.sleep(0.005)


def spool_all(spool, results):
    """Write results into the spool from many processes at once, from many threads in the short form."""
    left = list(results)
    if len(left) > 100:
        return [threading.Thread(target=spool_in_processes, args=(spool, left))]

    def work():
        while True:
            try:
                spool.add(left.pop())
            except IndexError:
                return

    return [threading.Thread(target=work) for _ in range(N_WORKERS)]


def spool_in_processes(spool, results):
    """Write results into the spool from many processes at once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(N_WORKERS, mp_context=context) as processes:
        list(processes.map(spool.add, results))


def test_every_result_is_registered_once_and_no_check_is_lost(tmp_path):
    chance = random.Random(SEED)
    fake = FakeAlyx()
    fake.faults.__init__(SEED, TROUBLE, hang_s=1.5, retry_after="0.05")
    sessions, results = {}, []
    for number in range(1, N_RESULTS // PER_SESSION + 1):
        session, tasks = add_tasks(fake.world, "TST_001", PER_SESSION, number)
        sessions[session] = tasks
        results += [result("TST_001", session, task, number, n) for n, task in enumerate(tasks)]
    chance.shuffle(results)
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    spool = Spool(tmp_path / "spool")
    fake.start()
    fake.stop()  # its port is known; nobody listens
    arguments = [sys.executable, str(WRITER), str(spool.folder), fake.url, "test_user", str(token_file)]
    errors = (tmp_path / "errors.txt").open("w")
    writers = []

    def start():
        writers.append(subprocess.Popen(arguments, stderr=errors))

    try:
        start()
        # Alyx is down while the first results come in.
        half = len(results) // 2
        threads = spool_all(spool, results[:half])
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert spool.n_pending() == half
        fake.start()
        threads = spool_all(spool, results[half:])
        for thread in threads:
            thread.start()
        for n in range(N_KILLS):
            until = fake.n_requests() + chance.randrange(1, max(2, N_RESULTS // (N_KILLS + 1)))
            wait_until(lambda until=until: fake.n_requests() >= until or not spool.n_pending(), f"kill {n}")
            writers[-1].kill()
            writers[-1].wait()
            start()
        for thread in threads:
            thread.join()
        wait_until(lambda: not spool.n_pending() or writers[-1].poll() is not None, "all results sent")
        assert writers[-1].poll() is None, (tmp_path / "errors.txt").read_text()
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
        errors.close()
        fake.close()

    world = fake.world
    assert [row.reason for row in spool.dead()] == []
    assert Counter(row["status"] for row in world.tasks.values()) == {"Complete": len(results)}
    for session, tasks in sessions.items():
        assert len(world.files_of(session)) == len(set(world.files_of(session))) == PER_SESSION
        assert world.sessions[session]["extended_qc"].keys() == {f"_video_{n}" for n in range(PER_SESSION)}
        assert [world.tasks[task]["log"] for task in tasks] == [f"log of task {n}" for n in range(PER_SESSION)]
    assert {row["n_times"] for row in world.datasets.values()} == {1}
    assert spool.sent().keys() == {row.key for row in results}
    assert set(fake.faults.n_met) >= {"500", "502", "drop_before", "drop_after"}
    assert fake.n_requests() / len(results) <= 3.0
