"""Hosts that fail: real processes, and the error that a user reads, or none where the chunk can go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faulty_engines import ADAPTER, faulty, is_running, numbered, wait_for

from ibl_dask.errors import (
    EngineCrashed,
    EngineFailed,
    GpuFailed,
    IblDaskError,
    MissingEnvironment,
    OutOfMemory,
    TaskTimedOut,
    WrongKeypoints,
)
from ibl_dask.pose.host import hosted_engine
from ibl_dask.pose.host.frame_memory import take_memory
from ibl_dask.pose.host.warm_engines import WarmEngines


@pytest.fixture(autouse=True)
def _faulty_adapter(monkeypatch):
    monkeypatch.setattr(hosted_engine, "adapter_file", lambda kind: ADAPTER)


@pytest.fixture
def engines(tmp_path):
    (tmp_path / "frames").mkdir()
    made = WarmEngines(folders=[tmp_path / "frames"])
    yield made
    made.release()
    assert made.processes == ()


def assert_numbers(rows, n_frames):
    assert rows[:, 0, 0].tolist() == list(range(n_frames))


def failure(engines, settings, n_frames=4) -> IblDaskError:
    """Return the error of an engine, which has all its parts."""
    with pytest.raises(IblDaskError) as caught, engines.open(settings) as engine:
        engine.predict(numbered(n_frames))
    error = caught.value
    assert error.what
    assert error.where
    assert error.do
    return error


# Starting


def test_an_environment_that_is_not_there_is_named(engines, tmp_path):
    error = failure(engines, faulty(python=str(tmp_path / "bin" / "python")))
    assert isinstance(error, MissingEnvironment)
    assert error.category == "environment"
    assert str(tmp_path / "bin" / "python") in error.where


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("#!/bin/sh\necho no such library >&2\nexit 127\n", "no such library"),
        ("#!/bin/sh\necho hello from the shell\n", "Python 3.8"),
        ("#!/bin/sh\nkill -9 $$\n", "SIGKILL"),
    ],
)
def test_an_environment_that_does_not_work_is_named(engines, tmp_path, program, expected):
    python = tmp_path / "python"
    python.write_text(program)
    python.chmod(0o755)
    error = failure(engines, faulty(python=str(python)))
    assert isinstance(error, MissingEnvironment)
    assert expected in str(error)


def test_an_engine_does_not_get_the_token_of_the_database(engines, tmp_path, monkeypatch):
    monkeypatch.setenv("IBL_DASK_ALYX_TOKEN", "0" * 40)
    monkeypatch.setenv("IBL_DASK_OTHER", "is passed on")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nenv | grep IBL_DASK_OTHER >&2\nenv | grep ALYX_TOKEN >&2\nexit 1\n")
    python.chmod(0o755)
    error = failure(engines, faulty(python=str(python)))
    assert "is passed on" in str(error)
    assert "ALYX_TOKEN" not in str(error)


def test_a_python_without_numpy_is_named(engines, tmp_path):
    """A Python that finds nothing but its own library."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)
    error = failure(engines, faulty(python=str(python)))
    assert isinstance(error, MissingEnvironment)
    assert "lacks numpy" in error.what


def test_a_package_that_is_missing_there_is_named(engines):
    error = failure(engines, faulty(at_load="missing_package"))
    assert isinstance(error, MissingEnvironment)
    assert "lacks no_such_runtime" in error.what


def test_a_gpu_that_is_missing_is_an_error_of_the_gpu(engines):
    error = failure(engines, faulty(at_load="no_gpu"))
    assert isinstance(error, GpuFailed)
    assert "no CUDA-capable device" in str(error)


def test_a_host_that_dies_while_it_loads_is_named(engines):
    error = failure(engines, faulty(at_load="dies"))
    assert isinstance(error, EngineCrashed)
    assert "exit code 5" in error.got


def test_an_engine_that_does_not_load_in_time_is_ended(engines):
    start = time.monotonic()
    error = failure(engines, faulty(at_load="hangs", start_s=2.0))
    assert isinstance(error, TaskTimedOut)
    assert time.monotonic() - start < 30
    assert "start_time_out" in error.do
    assert engines.processes == ()


def test_an_engine_of_other_keypoints_is_refused(engines):
    settings = faulty(declares=["nose", "tail"])
    with pytest.raises(WrongKeypoints) as caught, engines.open(_with_keypoints(settings, "nose", "paw")):
        pass
    assert (caught.value.expected, caught.value.got) == ("nose, paw", "nose, tail")
    with pytest.raises(WrongKeypoints), engines.open(_with_keypoints(settings, "tail", "nose")):
        pass  # the order counts: it is that of the maps
    with engines.open(_with_keypoints(settings, "nose", "tail")) as engine:
        assert engine.info.keypoints == ("nose", "tail")


def _with_keypoints(settings, *keypoints):
    return replace(settings, keypoints=keypoints)


@pytest.mark.parametrize("declared", [[], ["a", "a"], None, [""]])
def test_a_declaration_that_makes_no_sense_is_refused(engines, declared):
    with pytest.raises(EngineFailed, match="declares nonsense"), engines.open(faulty(declares=declared)):
        pass


# Memory


@pytest.mark.parametrize("fault", ["memory", "cuda_memory"])
def test_a_batch_that_does_not_fit_is_halved_and_the_size_kept(engines, tmp_path, fault):
    sizes = tmp_path / "sizes"
    settings = faulty(fault=fault, fits=2, batch=16, sizes=str(sizes))
    for _ in range(2):
        with engines.open(settings) as engine:
            assert_numbers(engine.predict(numbered(20)), 20)
    given = [int(size) for size in sizes.read_text().split()]
    assert given[:3] == [16, 8, 4], "halved"
    assert set(given[3:]) == {2}, "and not tried again, in the next chunk neither"
    assert sum(given[3:]) == 40


def test_an_engine_that_fills_its_batches_learns_the_size_that_fits(engines):
    with engines.open(faulty(fault="memory", fits=2, batch=16, fills=True)) as engine:
        assert_numbers(engine.predict(numbered(20)), 20)
        assert engine.info.batch_hint == 16


def test_another_engine_of_the_same_host_keeps_its_batches(engines, tmp_path):
    with (
        engines.open(faulty(fault="memory", fits=2, batch=4)) as small,
        engines.open(faulty(batch=16, sizes=str(tmp_path / "sizes"))) as large,
    ):
        small.predict(numbered(8))
        assert_numbers(large.predict(numbered(16)), 16)
    assert (tmp_path / "sizes").read_text().split() == ["16"]


def test_one_frame_that_does_not_fit_is_an_error_of_memory(engines):
    error = failure(engines, faulty(fault="cuda_memory"))
    assert isinstance(error, OutOfMemory)
    assert error.category == "memory"


def test_an_engine_that_cannot_be_loaded_again_for_lack_of_memory_tries_no_smaller_batches(engines, tmp_path):
    """Its network does not fit: another process has the memory by now."""
    sizes = tmp_path / "sizes"
    settings = faulty(
        fault="memory", at_load="memory_again", first_time=str(tmp_path / "failed"), sizes=str(sizes), batch=8
    )
    with engines.open(settings) as engine, pytest.raises(OutOfMemory):
        engine.predict(numbered(16))
    assert sizes.read_text().split() == ["8"]


# Working


@pytest.mark.parametrize("fault", ["crash", "killed", "quits"])
def test_after_one_death_the_chunk_goes_on_in_a_new_process(engines, tmp_path, fault):
    with engines.open(faulty(fault=fault, first_time=str(tmp_path / "died"), batch=4)) as engine:
        assert_numbers(engine.predict(numbered(10)), 10)


@pytest.mark.parametrize(
    ("fault", "kind", "expected"),
    [("crash", EngineCrashed, "SIGSEGV"), ("killed", OutOfMemory, "SIGKILL"), ("quits", EngineCrashed, "exit code 3")],
)
def test_deaths_again_and_again_are_an_error(engines, fault, kind, expected):
    error = failure(engines, faulty(fault=fault))
    assert isinstance(error, kind)
    assert expected in error.got
    if fault == "crash":
        assert "about to crash" in error.got, "what it printed last"


def test_a_host_that_dies_between_two_chunks_is_started_again(engines):
    settings = faulty()
    with engines.open(settings) as engine:
        assert_numbers(engine.predict(numbered(5)), 5)
        (first,) = engines.processes
        os.kill(first, signal.SIGKILL)
        assert wait_for(lambda: not is_running(first))
        assert_numbers(engine.predict(numbered(5)), 5)
        (second,) = engines.processes
    assert second != first


def test_an_engine_that_comes_back_as_another_build_is_refused(engines, tmp_path, monkeypatch):
    """Half a chunk of one build and half of another would be neither."""
    settings = faulty(fault="crash", first_time=str(tmp_path / "died"))
    with engines.open(settings) as engine:
        other = tmp_path / "other_adapter.py"
        other.write_text(ADAPTER.read_text().replace('get("build", 1)', 'get("build", 2)'))
        monkeypatch.setattr(hosted_engine, "adapter_file", lambda kind: other)
        with pytest.raises(EngineFailed, match="another one after its process"):
            engine.predict(numbered(4))


def test_an_engine_is_the_same_after_another_one_cost_their_process(engines, tmp_path, monkeypatch):
    with engines.open(faulty(batch=5)) as good, engines.open(faulty(fault="gpu")) as bad:
        with pytest.raises(GpuFailed):
            bad.predict(numbered(2))
        assert_numbers(good.predict(numbered(6)), 6)
        with pytest.raises(GpuFailed):
            bad.predict(numbered(2))
        other = tmp_path / "other_adapter.py"
        other.write_text(ADAPTER.read_text().replace('get("build", 1)', 'get("build", 2)'))
        monkeypatch.setattr(hosted_engine, "adapter_file", lambda kind: other)
        with pytest.raises(EngineFailed, match="another one after its process"):
            good.predict(numbered(6))


@pytest.mark.parametrize("fault", ["hangs", "hangs_in_c"])
def test_an_engine_that_hangs_is_ended_with_all_its_processes(engines, fault):
    with engines.open(faulty(fault=fault, batch_s=1.5)) as engine:
        (pid,) = engines.processes
        with pytest.raises(TaskTimedOut) as caught:
            engine.predict(numbered(4))
    assert not is_running(pid)
    assert "batch_time_out" in caught.value.do
    if fault == "hangs":
        assert "faulty_adapter.py" in caught.value.got, "where it hung"


def test_a_gpu_that_fails_is_an_error_of_the_gpu_and_costs_the_process(engines):
    with engines.open(faulty(fault="gpu")) as engine:
        (pid,) = engines.processes
        with pytest.raises(GpuFailed, match="illegal memory access"):
            engine.predict(numbered(4))
        assert not is_running(pid), "a GPU that failed fails again in the same process"


def test_a_bug_of_the_adapter_comes_with_its_traceback_and_costs_no_process(engines, tmp_path):
    with engines.open(faulty(fault="bug", first_time=str(tmp_path / "failed"))) as engine:
        (pid,) = engines.processes
        with pytest.raises(EngineFailed, match="KeyError: 'logits'") as caught:
            engine.predict(numbered(4))
        assert any("faulty_adapter.py" in note for note in caught.value.__notes__)
        assert_numbers(engine.predict(numbered(4)), 4)
        assert engines.processes == (pid,)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("too_few_rows", "other rows than it was given frames"),
        ("no_likelihood", "likelihoods"),
        ("nowhere", "keypoints that are nowhere"),
    ],
)
def test_rows_that_make_no_sense_are_refused(engines, fault, expected):
    with engines.open(faulty(fault=fault)) as engine, pytest.raises(EngineFailed, match=expected):
        engine.predict(numbered(4))


def test_what_an_engine_prints_is_logged_and_spoils_no_answer(engines, caplog):
    caplog.set_level("INFO")
    with engines.open(faulty(fault="talks")) as engine:
        assert_numbers(engine.predict(numbered(3)), 3)
        for line in ("C code prints", "a line that libraries print"):
            assert wait_for(lambda line=line: bool(engine.predict(numbered(1)).size) and line in caplog.text)


# Memory of the system


def test_a_full_memory_of_the_system_is_survived(tmp_path, monkeypatch):
    """Frames go through a file on another disk, and through the pipe if that is full as well."""
    there = tmp_path / "there"
    there.mkdir()
    for folders in ([tmp_path / "missing", there], [tmp_path / "missing"], []):
        engines = WarmEngines(folders=folders)
        frames = numbered(9, size=(200, 300))
        with engines.open(faulty(batch=4)) as engine:
            assert_numbers(engine.predict(frames), 9)
            assert list(there.iterdir()) == []
        engines.release()


MOUNT = 'mount -t tmpfs -o size=1m none "$0" && exec "$@"'


@pytest.fixture
def small_disk(tmp_path):
    """Return a command that runs another with a disk of 1 MB, and where that is."""
    place = tmp_path / "small"
    place.mkdir()
    for prefix in (["unshare", "-m"], ["unshare", "-rm"]):
        command = [*prefix, "sh", "-c", MOUNT, str(place)]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command, place
    pytest.skip("this process may mount nothing")


def test_memory_is_taken_where_there_is_room_and_never_half(small_disk, tmp_path):
    command, place = small_disk
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from ibl_dask.pose.host.frame_memory import take_memory\n"
        "small, large = map(Path, sys.argv[1:])\n"
        "frames = np.full((1, 400, 500, 3), 7, np.uint8)\n"
        "assert take_memory(100_000, [small, large]).path.parent == small\n"
        "memory = take_memory(frames.nbytes, [small, large])\n"
        "assert memory.path.parent == large, memory.path\n"
        "memory.write(frames)\n"
        "assert take_memory(frames.nbytes, [small]) is None\n"
        "(small / 'filler').write_bytes(bytes(500_000))\n"
        "assert take_memory(300_000, [small]) is None\n"
        "assert len(list(small.iterdir())) == 2, 'no half file'\n"
    )
    subprocess.run([*command, sys.executable, "-c", program, str(place), str(tmp_path)], check=True)


def test_memory_that_cannot_be_allocated_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert take_memory(1000, [tmp_path]) is None
    assert list(tmp_path.iterdir()) == []


# The end of the worker

WORKER = """
import sys, threading
from pathlib import Path
from faulty_engines import faulty, numbered, use_faulty_adapter
from ibl_dask.pose.host.warm_engines import WarmEngines
use_faulty_adapter()
fault, folder, mark = sys.argv[1], *map(Path, sys.argv[2:])
engines = WarmEngines(folders=[folder])
with engines.open(faulty(fault=None if fault == "idle" else fault, first_time=str(mark))) as engine:
    print(*engines.processes, flush=True)
    engine.predict(numbered(4))
    sys.stdin.read()
"""


@pytest.mark.parametrize("host", ["idle", "hangs", "hangs_in_c", "hangs_alone"])
def test_a_host_ends_with_its_worker_however_that_ends(tmp_path, host):
    """Idle, busy, busy with the interpreter's lock, and without the kernel's help."""
    frames, mark = tmp_path / "frames", tmp_path / "mark"
    frames.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, host, str(frames), str(mark)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(ADAPTER).parent)},
        text=True,
    ) as worker:
        pid = int(worker.stdout.readline())
        assert wait_for(mark.exists), "it has begun to predict"
        assert is_running(pid)
        worker.kill()
        worker.wait()
        assert wait_for(lambda: not is_running(pid)), "an orphan"
    assert list(frames.iterdir()) == []


def test_memory_of_a_worker_that_was_killed_is_removed_by_the_next(tmp_path):
    old, young = tmp_path / "ibl_dask-a.frames", tmp_path / "ibl_dask-b.frames"
    for path in (old, young):
        path.write_bytes(b"1")
    os.utime(old, (0, 0))
    memory = take_memory(1000, [tmp_path])
    assert sorted(tmp_path.iterdir()) == sorted([young, memory.path])


def test_a_host_outlives_the_thread_that_started_it(engines):
    """The kernel's signal comes with the end of a thread, not of a process."""
    settings = faulty()

    def first() -> None:
        with engines.open(settings) as engine:
            engine.predict(numbered(2))

    thread = threading.Thread(target=first)
    thread.start()
    thread.join()
    (pid,) = engines.processes
    time.sleep(0.3)
    assert is_running(pid)
    with engines.open(settings) as engine:
        assert_numbers(engine.predict(numbered(4)), 4)
    assert engines.processes == (pid,)


def test_the_order_of_frames_is_kept_in_many_calls(engines):
    frames = np.concatenate([numbered(200)] * 2)
    with engines.open(faulty(batch=7)) as engine:
        for start in range(0, 300, 37):
            rows = engine.predict(frames[start : start + 50])
            assert rows[:, 0, 1].tolist() == frames[start : start + 50, 0, 0, 0].tolist()
