"""The sign of life of a driver, and the state of a run that follows from it."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import replace

import pytest
from wrong_clock import wrong_clock

from ibl_dask.model.failure import Failure
from ibl_dask.store import heartbeat
from ibl_dask.store.heartbeat import SILENT_S, Heartbeat, Signs, judge_run, look_for_signs, measure_silence, read_beat
from ibl_dask.store.processes import this_process
from ibl_dask.store.run_folder import RunFolder
from ibl_dask.store.run_progress import Pause, RunEnd

ELSEWHERE = replace(this_process(), boot="0123456789ab", host="node17").mark
FULL = Pause("/mnt/data", Failure("DiskFull", "disk", "the disk is full"), 5.0)
NODE = Pause("node17", Failure("NodeFailed", "environment", "a node fails"), 5.0)


@pytest.fixture
def run(tmp_path):
    found = RunFolder.of(tmp_path, "r")
    found.path.mkdir(parents=True)
    return found


@pytest.fixture
def beaten(run):
    """A run whose driver gave one sign of life and no more."""
    Heartbeat(run.beat_file, dict, lambda: None).close()
    return run


@pytest.mark.parametrize(
    ("signs", "word"),
    [
        (Signs("alive", silent_s=1.0), "running"),
        (Signs("alive"), "running"),
        (Signs("alive", silent_s=SILENT_S + 1), "stopped"),
        (Signs("alive", is_suspended=True), "stopped"),
        (Signs("gone"), "dead"),
        (Signs("unknown", silent_s=1.0), "running"),
        (Signs("unknown", silent_s=SILENT_S + 1), "dead"),
        (Signs("unknown", silent_s=SILENT_S + 1, job="ended"), "dead"),
        (Signs("unknown", silent_s=SILENT_S + 1, job="running"), "stopped"),
        (Signs("unknown", silent_s=SILENT_S + 1, job="suspended"), "stopped"),
        (Signs("unknown"), "unknown"),
    ],
)
def test_state_of_a_run_that_has_not_ended(signs, word):
    assert judge_run(None, (), signs).word == word
    assert judge_run(None, (NODE,), signs).word == word, "a pause of one place is none of the run"
    paused = judge_run(None, (FULL,), signs)
    assert paused.word == ("paused" if word == "running" else word)
    assert paused.pauses == (FULL,)


@pytest.mark.parametrize(("interrupted", "word"), [(False, "finished"), (True, "interrupted")])
def test_a_run_that_ended_is_over_whatever_became_of_its_process(interrupted, word):
    state = judge_run(RunEnd(interrupted, 12.4, 0.0), (FULL,), Signs("gone"))
    assert (state.word, state.is_over, state.pauses) == (word, True, ())


def test_beats_are_numbered_and_carry_figures(run, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)
    n_after = []
    beat = Heartbeat(run.beat_file, lambda: {"steps": 3}, lambda: n_after.append(1))
    deadline = time.monotonic() + 20
    while (found := read_beat(run.beat_file)) is None or found.number < 3:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    beat.close()
    assert found.figures == {"steps": 3}
    assert found.process == this_process().mark
    assert len(n_after) >= 2


def test_figures_that_fail_and_a_full_disk_end_no_beat(run, monkeypatch):
    def fail():
        raise RuntimeError("dictionary changed size during iteration")

    Heartbeat(run.beat_file, fail, lambda: None).close()
    assert read_beat(run.beat_file).figures == {}

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.utime(run.beat_file, (1, 1))
    monkeypatch.setattr(heartbeat, "write_text", refuse)
    Heartbeat(run.beat_file, dict, lambda: None).close()
    assert run.beat_file.stat().st_mtime > 1, "its time stamp is a sign of life"


def test_a_driver_on_another_host_is_judged_by_the_clock_of_the_file_server(beaten, monkeypatch):
    real = time.time
    for wrong_by_s in (-1e6, 1e6):
        monkeypatch.setattr(time, "time", wrong_clock(lambda wrong_by_s=wrong_by_s: wrong_by_s))
        signs = look_for_signs(beaten, ELSEWHERE)
        assert (signs.process, signs.clock) == ("unknown", "the file server")
        assert judge_run(None, (), signs).word == "running"
    old_s = real() - SILENT_S - 100
    os.utime(beaten.beat_file, (old_s, old_s))
    signs = look_for_signs(beaten, ELSEWHERE)
    assert judge_run(None, (), signs).word == "dead"
    assert sorted(path.name for path in beaten.path.iterdir()) == ["beat.json"], "looking leaves nothing"


def test_the_batch_system_is_asked_about_a_silent_driver_alone(beaten):
    asked = []

    def ask(number):
        asked.append(number)
        return "running"

    assert look_for_signs(beaten, ELSEWHERE, "42", ask).job == "unknown"
    assert asked == []
    os.utime(beaten.beat_file, (1, 1))
    assert judge_run(None, (), look_for_signs(beaten, ELSEWHERE, "42", ask)).word == "stopped"
    assert asked == ["42"]


@pytest.mark.parametrize("is_renewed", [True, False])
def test_who_may_not_write_there_looks_twice(beaten, monkeypatch, is_renewed):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    caller, real_sleep = threading.get_ident(), time.sleep

    def sleep(seconds):
        if threading.get_ident() != caller:  # one of another test
            real_sleep(seconds)
            return
        assert seconds > heartbeat.BEAT_S
        if is_renewed:
            os.utime(beaten.beat_file, (2, 2))

    monkeypatch.setattr(heartbeat, "_server_time_s", refuse)
    assert measure_silence(beaten.beat_file)[1] == "this machine"
    os.utime(beaten.beat_file, (1, 1))
    monkeypatch.setattr(time, "sleep", sleep)
    silent_s, clock = measure_silence(beaten.beat_file)
    assert clock == "two looks"
    assert (silent_s <= SILENT_S) is is_renewed


def test_a_run_without_a_sign_of_life_is_unknown_from_elsewhere(run):
    assert measure_silence(run.beat_file)[0] is None
    run.beat_file.write_bytes(b'{"torn')
    assert read_beat(run.beat_file) is None
