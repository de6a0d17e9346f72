"""Whatever is killed, whenever: after running again every output is the same, and nothing else is left.

`IBL_DASK_CHAOS_KILLS` sets the number of moments (1 by default, 30 in the long form of the gate); the seed of a
moment is its number, so that one which fails can be tried again by name.
"""

import hashlib
import json
import os
import random
import signal
import time

import psutil
import pytest
from forked_program import Forked
from published import DRIVER, SMALL_CHUNKS, assert_same, results

from ibl_dask.pipeline.run import run

N_KILLS = int(os.environ.get("IBL_DASK_CHAOS_KILLS", "1"))


OPTIONS = {
    "compressed": {"chunk_pixels": SMALL_CHUNKS},
    # What one pass over the result measured is kept with the chunks that were compressed.
    "raw": {"encode_pixels": SMALL_CHUNKS},
}


def start(session, work, options):
    return Forked(session, work, json.dumps(options), code=DRIVER)


def raw_files(session):
    """Return the digest of every file in the folder of raw videos."""
    folder = session / "raw_video_data"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def kill_something(process, rng):
    """Kill the driver, or one of its workers; return whether it was the driver."""
    try:
        below = [p for p in psutil.Process(process.pid).children(recursive=True) if "python" in p.name()]
        victims = [process.pid, *(p.pid for p in below)]
    except psutil.NoSuchProcess:
        return False
    victim = rng.choice(victims)
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return victim == process.pid


@pytest.mark.chaos
@pytest.mark.parametrize("videos", OPTIONS)
@pytest.mark.parametrize("seed", range(N_KILLS))
def test_outputs_are_the_same_after_a_kill_at_a_random_moment(request, tmp_path, seed, videos):
    """Videos included where raw ones are compressed, to the byte; the raw ones are as they were."""
    session = request.getfixturevalue("raw_session" if videos == "raw" else "session_folder")
    options = OPTIONS[videos]
    rng = random.Random(seed)
    expected_at, work = tmp_path / "expected", tmp_path / "work"
    before = raw_files(session)
    assert run([session], output_root=expected_at, **options).exit_code == 0
    expected = expected_at / session.relative_to(tmp_path)
    made = raw_files(expected) if videos == "raw" else {}

    process = start(session, work, options)
    time.sleep(rng.uniform(0.3, 6.0))
    driver_died = kill_something(process, rng)
    code = process.wait(timeout=240)
    if not driver_died:
        assert code == 0
    # Workers whose driver is gone notice it and leave.
    time.sleep(2)
    assert run([session], work_dir=work, **options).exit_code == 0

    assert_same(results(session), results(expected))
    assert raw_files(session) == before | made
    left = [p.name for p in session.rglob("*") if p.name.endswith((".tmp", ".previous")) or p.name == "lock.json"]
    assert left == []
    assert [p.name for p in work.rglob("*.npz")] == []
