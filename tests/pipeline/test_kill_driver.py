"""A driver that is killed loses at most the chunks under way."""

import json
import signal
import time

import pytest
from forked_program import Forked
from published import DRIVER, SMALL_CHUNKS, assert_same, passes, results

from ibl_dask.pipeline.run import run


def chunk_files(work):
    return [path for path in work.rglob("*-chunks/*/*.npz") if not path.name.startswith(".")]


def kill_after(session, work, n_chunks):
    """Start a driver and kill it once some chunks are on disk; return how many were then."""
    process = Forked(session, work, json.dumps({"chunk_pixels": SMALL_CHUNKS}), code=DRIVER)
    deadline = time.monotonic() + 120
    while len(chunk_files(work)) < n_chunks and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Workers notice that their parent is gone, and leave.
    time.sleep(2)
    return len(chunk_files(work))


@pytest.mark.chaos
def test_running_again_decodes_only_what_was_not_finished(session_folder, tmp_path):
    expected_at = tmp_path / "expected"
    undisturbed = run([session_folder], output_root=expected_at, chunk_pixels=SMALL_CHUNKS)
    n_all = len(passes(undisturbed.sessions[0], "done"))

    work = tmp_path / "work"
    n_finished = kill_after(session_folder, work, n_chunks=3)
    assert n_finished < n_all

    again = run([session_folder], work_dir=work, chunk_pixels=SMALL_CHUNKS)
    assert again.exit_code == 0, [f.message for f in again.sessions[0].failures]
    kept, done = passes(again.sessions[0], "kept"), passes(again.sessions[0], "done")
    # A camera that was merged before the kill is neither kept nor decoded, and has no chunk files any more.
    assert len(done) <= n_all - n_finished
    assert len(kept) <= n_finished
    assert len(done) < n_all
    assert_same(results(session_folder), results(expected_at / session_folder.relative_to(tmp_path)))
    assert not [path for path in session_folder.rglob("*") if path.name.endswith(".tmp")]
