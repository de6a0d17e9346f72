"""Damaged files of our own: what can be made anew is, and nothing damaged passes for good."""

import json
import os

import numpy as np
import pytest
from program import call, says
from published import assert_same, results
from wrong_clock import wrong_clock

from ibl_dask.model.events import SessionPlanned, StepFinished
from ibl_dask.pipeline.run import run
from ibl_dask.store.journal import segment_file
from ibl_dask.store.run_summary import find_runs

pytestmark = pytest.mark.faults


def flip(path):
    """Change one byte and nothing that `ls` shows."""
    found = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


FINISHED = [
    ("ibl_dask/leftCamera-timing.npz", flip),
    ("ibl_dask/done/times-left.json", cut),
    ("ibl_dask/done/frames-left.json", flip),
    ("ibl_dask/leftCamera-frames.zarr/brightness/c/0", remove),
    ("ibl_dask/leftCamera-frames.zarr/time/c/0", flip),
    ("ibl_dask/leftCamera-frames.zarr/zarr.json", cut),
    ("ibl_dask/qc.json", cut),
    ("ibl_dask/provenance.json", flip),
    ("alf/_ibl_leftCamera.times.npy", cut),
]


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    assert run([small], output_root=root).exit_code == 0
    return root


@pytest.fixture
def again(finished, small, tmp_path):
    """Return a copy of a finished session's results, and a function that runs it again."""
    import shutil

    root = tmp_path / "out"
    shutil.copytree(finished, root)
    place = root / small.relative_to(small.parents[4])
    return place, lambda: run([small], output_root=root)


@pytest.mark.parametrize(("name", "damage"), FINISHED, ids=lambda value: getattr(value, "__name__", value))
def test_a_run_repairs_what_was_damaged_after_the_last(again, undisturbed, name, damage):
    place, run_again = again
    whole = (place / name).read_bytes()
    damage(place / name)
    result = run_again()
    assert result.exit_code == 0, [f.message for f in result.sessions[0].failures]
    assert_same(results(place), undisturbed)
    if name.endswith((".npy", ".npz", "qc.json")):
        assert (place / name).read_bytes() == whole
    assert not list(place.glob("alf/#*#"))
    third = run_again()
    steps = third.sessions[0]
    assert steps.count("times", "kept") == steps.count("frames", "kept") == 3
    assert steps.count("framepass", "done") == 0


def test_published_times_that_were_altered_are_kept_beside_the_true_ones(again, undisturbed):
    """Somebody may have had a reason; the checks and every reader of the newest revision see what was measured."""
    place, run_again = again
    path = place / "alf" / "_ibl_leftCamera.times.npy"
    altered = np.load(path) + 0.1
    np.save(path, altered)
    assert run_again().exit_code == 0
    np.testing.assert_array_equal(np.load(path), altered)
    (revision,) = place.glob("alf/#*#/_ibl_leftCamera.times.npy")
    np.testing.assert_array_equal(np.load(revision), undisturbed["left.times"])
    assert run_again().exit_code == 0
    assert len(list(place.glob("alf/#*#"))) == 1


@pytest.mark.parametrize(("name", "damage"), [("left-index.npz", flip), ("*.npz", cut), ("*.npz", empty)])
def test_an_interrupted_run_that_left_damaged_scratch_is_completed(session, tmp_path, undisturbed, name, damage):
    class Stop:
        n = 0

        def __call__(self, event):
            if isinstance(event, StepFinished) and event.record.key[0].startswith("framepass"):
                self.n += 1
                if self.n == 2:
                    raise KeyboardInterrupt

    arguments = {"work_dir": tmp_path / "work", "chunk_pixels": 160 * 160 * 128}
    assert run([session], listeners=[Stop()], **arguments).interrupted
    scratch = next((tmp_path / "work" / "scratch").iterdir())
    for path in scratch.rglob(name):
        damage(path)
    result = run([session], **arguments)
    assert result.exit_code == 0, [f.message for f in result.sessions[0].failures]
    assert_same(results(session), undisturbed)


def test_commands_that_read_a_damaged_record_say_so(again, small):
    place, _ = again
    cut(place / "ibl_dask" / "qc.json")
    root = place.parents[4]
    for command in ("qc", "report"):
        code, text = call(command, small, "--output-root", root)
        assert code == 1
        says(text, "damaged", place / "ibl_dask" / "qc.json", "expected: ", "what to do: run again")


GARBAGE = [
    b'{"v":1,"event":"StepFini',
    bytes(300),
    b"\xff\xfe not json",
    b"42",
    b"[]",
    b'{"v":1}',
    b'{"v":1,"event":"StepFinished","session":"/elsewhere"}',
    b'{"v":1,"event":"Unheard","session":7}',
    b'{"v":2,"event":"RunStarted","sessions":{"other":"layout"}}',
]


def test_a_journal_with_damage_anywhere_is_read_around_it(session, tmp_path):
    work = tmp_path / "work"
    assert run([session], work_dir=work).exit_code == 0
    (found,) = find_runs(work)
    found.summary_file.unlink()
    path = segment_file(found.journal, 0)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:4], *GARBAGE, *lines[4:], GARBAGE[0]]))
    code, text = call("status", "--work-dir", work)
    assert code == 0, text
    says(text, "SW_001/2023-05-01/001", "ended after", f"of {len(lines) + len(GARBAGE) + 1} lines of {found.journal}")
    assert "elsewhere" not in text
    assert run([session], work_dir=work).exit_code == 0


@pytest.mark.parametrize("kind", ["of another version", "torn at once", "empty"])
def test_a_journal_that_cannot_be_read_at_all_is_no_success(tmp_path, session, kind):
    work = tmp_path / "work"
    assert run([session], work_dir=work, tasks=["VideoRegisterRaw"]).exit_code == 0
    (found,) = find_runs(work)
    found.summary_file.unlink()
    path = segment_file(found.journal, 0)
    lines = path.read_bytes()
    path.write_bytes(
        {"of another version": lines.replace(b'{"v":1', b'{"v":9'), "torn at once": lines[:20]}.get(kind, b"")
    )
    code, text = call("status", "--work-dir", work)
    assert code == 1
    if kind != "empty":
        says(text, "could not be read", "another version", found.journal)


def test_events_are_in_order_although_the_clock_of_the_driver_goes_back(session, tmp_path, monkeypatch):
    import time

    n = iter(range(10**9))
    monkeypatch.setattr(time, "time", wrong_clock(lambda: -600 * next(n)))
    work = tmp_path / "work"
    result = run([session], work_dir=work)
    assert result.exit_code == 0, [f.message for f in result.sessions[0].failures]
    assert result.seconds >= 0
    provenance = json.loads((session / "ibl_dask" / "provenance.json").read_text())
    assert provenance["ran"]["seconds"] >= 0
    assert not (session / "ibl_dask" / "lock.json").exists()
    monkeypatch.undo()
    code, text = call("status", "--work-dir", work)
    assert code == 0, text
    assert SessionPlanned.__name__ in segment_file(find_runs(work)[0].journal, 0).read_text()
