"""Which process something belongs to, and whether it is still there."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import NAMESPACE, needs_namespaces

from ibl_dask.store.holder import STALE_S, UNWRITTEN_S, WATCHED_S, Evidence, judge_lock
from ibl_dask.store.processes import Process, find_start, judge, state_of, this_process

HOSTS = st.sampled_from(["node017", "login-2.site.org", "größe", "a-1-2-3-4-5", "a-0123456789ab-4-5-6", "-", "x\ny"])
BOOTS = st.sampled_from(["", "0123456789ab", "ffffffffffff"])
PROCESSES = st.builds(Process, HOSTS, st.integers(1, 2**22), BOOTS, st.integers(0, 2**32 - 1), st.integers(0, 2**40))
STARTS = st.none() | st.integers(0, 2**40)


@given(PROCESSES)
def test_a_process_is_read_back_from_a_name_and_from_json(process: Process) -> None:
    assert Process.from_mark(process.mark) == process
    assert Process.from_json(process.to_json()) == process


@pytest.mark.parametrize("text", ["", "node017", "node017-4711", "node017-4711-0123abcd", "a-b-c-d-e", "-0-1-2-3"])
def test_names_that_older_versions_gave_are_no_identity(text: str) -> None:
    assert Process.from_mark(text) is None


@pytest.mark.parametrize(
    "content",
    [{}, {"host": "a"}, {"pid": 1}, {"host": "a", "pid": 0}, {"host": "a", "pid": -1}, {"host": 1, "pid": 1},
     {"host": "a", "pid": "1"}, {"host": "a", "pid": 1, "boot": 7}, {"host": "a", "pid": 1, "started": None}],
)  # fmt: skip
def test_what_names_no_process_is_none(content: dict[str, object]) -> None:
    assert Process.from_json(content) is None


@given(PROCESSES, PROCESSES, STARTS)
def test_nothing_is_said_of_a_process_that_cannot_be_seen(process: Process, here: Process, started: int | None) -> None:
    is_near = (process.boot, process.namespace) == (here.boot, here.namespace)
    if not is_near or (not process.boot and process.host != here.host):
        assert judge(process, here, started) == "unknown"


@given(PROCESSES, HOSTS, st.integers(1, 2**22), STARTS)
def test_a_process_of_here_is_alive_exactly_where_its_number_was_given_out_once(
    process: Process, host: str, pid: int, started: int | None
) -> None:
    process = replace(process, boot="0123456789ab")
    here = replace(process, host=host, pid=pid)  # a host may be renamed
    said = judge(process, here, started)
    if started is None:
        assert said == "gone"
    elif started == 0 or process.started == 0:
        assert said == "unknown"
    else:
        assert said == ("alive" if started == process.started else "gone")


EVIDENCE = st.builds(
    Evidence,
    st.sampled_from(["alive", "gone", "unknown"]),
    st.floats(0, 1e6),
    st.floats(0, 1e4),
    st.booleans(),
    st.sampled_from(["running", "suspended", "ended", "unknown"]),
    st.booleans(),
    st.booleans(),
)


@given(EVIDENCE)
def test_a_lock_is_free_only_with_its_process_gone_or_without_a_beat(found: Evidence) -> None:
    if judge_lock(found) == "free" and found.names_owner:
        assert found.process == "gone" or found.watched_s >= WATCHED_S
    if judge_lock(found) == "free" and not found.names_owner:
        assert found.age_s > UNWRITTEN_S


@given(EVIDENCE, st.floats(0, 1e4))
def test_a_lock_that_is_free_stays_so_while_nobody_renews_it(found: Evidence, more_s: float) -> None:
    later = replace(found, age_s=found.age_s + more_s, watched_s=found.watched_s + more_s)
    if judge_lock(found) == "free":
        assert judge_lock(later) == "free"


@given(EVIDENCE)
def test_no_lock_that_names_its_owner_holds_for_ever_without_a_beat(found: Evidence) -> None:
    old = replace(found, age_s=STALE_S + 1, watched_s=STALE_S + 1)
    assert judge_lock(old) == (
        "held" if found.job == "suspended" and found.names_owner and found.process != "gone" else "free"
    )


def test_this_process_is_alive_and_one_that_ended_is_gone() -> None:
    assert state_of(this_process()) == "alive"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        other = replace(this_process(), pid=process.pid, started=find_start(process.pid) or 0)
        assert state_of(other) == "alive"
        process.kill()
    assert state_of(other) == "gone"
    assert state_of(replace(this_process(), started=this_process().started - 1)) == "gone"


def test_a_forked_process_has_an_identity_of_its_own() -> None:
    before = this_process()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, this_process().mark.encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = Process.from_mark(os.read(reader, 1000).decode())
    os.close(reader)
    os.close(writer)
    assert told is not None
    assert told.pid == child
    assert told != before


@needs_namespaces
@pytest.mark.parametrize("mount", [True, False], ids=["with its own /proc", "with that of outside"])
def test_a_process_of_another_namespace_is_not_taken_for_one_of_here(mount: bool) -> None:
    code = (
        "import sys; from ibl_dask.store.processes import *\n"
        "print(this_process().mark); print(state_of(Process.from_mark(sys.argv[1]))); print(state_of(this_process()))"
    )
    command = [*(NAMESPACE if mount else NAMESPACE[:-1]), sys.executable, "-c", code, this_process().mark]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    mark, of_outside, of_itself = done.stdout.split("\n")[:3]
    inner = Process.from_mark(mark)
    assert inner is not None
    assert inner.namespace != this_process().namespace
    assert inner.boot == this_process().boot
    assert of_outside == "unknown"
    assert of_itself != "gone"
    assert state_of(inner) == "unknown"
