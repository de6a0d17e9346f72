"""What follows a failed attempt: another one, a pause of the run, or none."""

import threading
import time
from types import SimpleNamespace

import pytest
from failing_steps import fail_first, hang_in_c, write_much
from hypothesis import given
from hypothesis import strategies as st
from simple_steps import Calling, simple_step
from small_disks import fill, mounted

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.errors import CATEGORIES
from ibl_dask.model.failure import Failure
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline import attempts, circuit_breakers, retries
from ibl_dask.pipeline.attempts import Again, Pause, next_attempt
from ibl_dask.pipeline.circuit_breakers import EnvironmentHealth, IoBudget, NodeHealth
from ibl_dask.pipeline.executors import OnCluster
from ibl_dask.pipeline.in_process import InProcess
from ibl_dask.pipeline.ready_queue import QueuedStep
from ibl_dask.pipeline.retries import Paused, Resumed, Retried

failures = st.builds(
    Failure,
    kind=st.sampled_from(["Some", "WriteFailed", "ReadFailed", "NotWritable", "NotReadable", "StepKilled"]),
    category=st.sampled_from(CATEGORIES),
    what=st.just("no luck"),
)


@given(st.lists(failures, min_size=1, max_size=30), st.booleans(), st.booleans())
def test_the_number_of_attempts_is_bounded_whatever_happens(history, memory, nodes):
    """Each further failure is one more of its category, so that no history goes on for ever."""
    n_alike = sum(failure.category == history[-1].category for failure in history)
    verdict = next_attempt(history, has_more_memory=memory, has_other_nodes=nodes)
    if n_alike >= 4:
        assert verdict is None


@given(failures, st.booleans(), st.booleans())
def test_what_lies_in_data_and_code_is_never_tried_again(failure, memory, nodes):
    if failure.category in ("missing_input", "corrupt_input", "bug", "usage", "locked", "walltime"):
        assert next_attempt([failure], has_more_memory=memory, has_other_nodes=nodes) is None


def test_memory_and_time_double_and_pauses_grow():
    memory, timeout, network = (Failure("X", name, "no luck") for name in ("memory", "timeout", "network"))
    assert next_attempt([memory], has_more_memory=True) == Again(memory_factor=2.0)
    assert next_attempt([memory], has_more_memory=False) is None
    assert next_attempt([timeout]) == Again(time_factor=2.0)
    assert next_attempt([timeout] * 2) is None
    pauses = [next_attempt([network] * n).pause_s for n in (1, 2, 3)]
    assert pauses == sorted(pauses)
    assert pauses[0] > 0
    assert next_attempt([network] * 4) is None


@pytest.mark.parametrize("kind", ["DiskFull", "ReadOnlyDisk"])
def test_a_full_or_read_only_disk_is_a_pause_and_a_lack_of_permission_is_not(kind):
    assert next_attempt([Failure(kind, "disk", "no room", where="/data/x")]) == Pause("/data/x")
    assert next_attempt([Failure("NotWritable", "disk", "no permission", where="/data/x")]) is None
    assert next_attempt([Failure(kind, "disk", "no room", where="/data/x")] * 9) is None


def test_a_record_that_cannot_be_read_is_not_waited_for_and_an_output_that_a_disk_garbled_is():
    assert next_attempt([Failure("DamagedRecord", "disk", "this record of checks is damaged")]) is None
    assert next_attempt([Failure("CorruptOutput", "disk", "this file is damaged")]).pause_s > 0


# -- steps ---------------------------------------------------------------------------------------------------


def failing(folder, name, times, kind):
    arguments = {"folder": str(folder), "name": name, "times": times, "kind": kind}
    return Calling(called=name, session="s", function=fail_first, arguments=arguments, parts=str(folder))


def run_all(executor, steps, folder):
    notices = []
    executor.retries.listen = notices.append
    executor.submit(steps, folder, {}, 0, (folder / "lock.json",))
    return {record.key.name: record for record in executor.completed()}, notices


@pytest.fixture(params=["here", "on a cluster"])
def executor(request):
    return InProcess() if request.param == "here" else OnCluster(request.getfixturevalue("client"))


@pytest.fixture
def _no_waiting(monkeypatch):
    monkeypatch.setattr(attempts, "PAUSES_S", (0.01, 0.02, 0.04))


@pytest.mark.usefixtures("_no_waiting")
def test_what_passes_is_done_in_the_end_and_children_read_the_good_result(executor, tmp_path):
    parent = failing(tmp_path, "flaky", 2, "ConnectionBroke")
    child = simple_step(tmp_path, "child", [parent])
    records, notices = run_all(executor, [parent, child], tmp_path)
    assert {name: record.status for name, record in records.items()} == {"flaky": "done", "child": "done"}
    assert (tmp_path / "child").read_text().endswith("flaky:done")
    assert [(type(notice), notice.attempt) for notice in notices] == [(Retried, 1), (Retried, 2)]
    assert (tmp_path / "flaky.tries").read_text() == "xxx"


@pytest.mark.usefixtures("_no_waiting")
def test_a_step_that_never_passes_fails_after_a_bounded_number_of_tries_that_its_failure_names(executor, tmp_path):
    records, _ = run_all(executor, [failing(tmp_path, "never", 99, "ConnectionBroke")], tmp_path)
    assert (tmp_path / "never.tries").read_text() == "xxxx"
    assert "It was tried 4 times." in records["never"].failure.message


def test_a_bug_and_a_bad_input_are_tried_once(executor, tmp_path):
    steps = [failing(tmp_path, kind, 99, kind) for kind in ("TaskFailed", "DecodeFailed", "MissingFile", "NotWritable")]
    records, notices = run_all(executor, steps, tmp_path)
    assert {record.status for record in records.values()} == {"failed"}
    assert {path.read_text() for path in tmp_path.glob("*.tries")} == {"x"}
    assert notices == []


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk") as disk:
        yield disk


def writing(disk, name):
    arguments = {"folder": str(disk), "name": name}
    return Calling(called=name, session="s", function=write_much, arguments=arguments, parts=str(disk))


def test_on_a_full_disk_the_run_waits_and_goes_on_when_it_is_emptied(executor, small_disk, monkeypatch):
    monkeypatch.setattr(retries, "PROBED_EVERY_S", 0.2)
    fill(small_disk)
    steps = [writing(small_disk, f"step{n}") for n in range(5)]

    def empty():
        while not list(small_disk.parent.glob("*.tries")):
            time.sleep(0.02)
        time.sleep(0.7)
        (small_disk / "filler").unlink()

    thread = threading.Thread(target=empty)
    thread.start()
    records, notices = run_all(executor, steps, small_disk)
    thread.join()
    assert {record.status for record in records.values()} == {"done"}
    assert {path.stat().st_size for path in small_disk.iterdir()} == {2_000_000}
    assert [type(notice) for notice in notices if not isinstance(notice, Retried)] == [Paused, Resumed]
    assert notices[0].place == str(small_disk)
    assert "the disk is full" in notices[0].failure.message


def test_a_pause_ends_after_the_longest_one_and_the_failure_names_it(executor, small_disk, monkeypatch):
    monkeypatch.setattr(retries, "PROBED_EVERY_S", 0.1)
    executor.retries.longest_pause_s = 0.5
    fill(small_disk)
    steps = [writing(small_disk, f"step{n}") for n in range(3)]
    records, _ = run_all(executor, steps, small_disk)
    assert {record.failure.kind for record in records.values()} == {"DiskFull"}
    assert any("The run waited" in record.failure.message for record in records.values())


def test_a_disk_that_was_waited_for_in_vain_is_waited_for_again_once_it_takes_files(small_disk):
    """And the waiting for other disks goes on meanwhile."""
    keeper, other = retries.Retries(longest_pause_s=0.2), "/dev/shm"
    fill(small_disk)
    failure = Failure("DiskFull", "disk", "the disk is full", where=str(small_disk))
    keeper.pause(str(small_disk), failure)
    time.sleep(0.3)
    keeper.given_up()
    assert not keeper.may_pause(str(small_disk))
    assert keeper.may_pause(other)
    (small_disk / "filler").unlink()
    assert keeper.may_pause(str(small_disk))


def test_a_failure_from_before_a_disk_was_emptied_pauses_nothing(small_disk, monkeypatch):
    monkeypatch.setattr(retries, "PROBED_EVERY_S", 0.0)
    keeper, notices = retries.Retries(), []
    keeper.listen = lambda notice: notices.append(type(notice))
    failure = Failure("DiskFull", "disk", "the disk is full", where=str(small_disk))

    def given_out(name):
        return QueuedStep(writing(small_disk, name), small_disk, 0, {}, given_s=time.monotonic())

    fill(small_disk)
    early, late = given_out("early"), given_out("late")
    assert keeper.judge(early, failure) is None
    (small_disk / "filler").unlink()
    assert keeper.due() == [early]
    assert keeper.judge(late, failure) is None
    assert keeper.due() == [late]
    assert notices == [Paused, Resumed, Retried]
    fill(small_disk)
    keeper.judge(given_out("later"), failure)
    assert notices[3:] == [Paused]


# -- time-outs -----------------------------------------------------------------------------------------------


def hanging(folder, name, hangs=99):
    arguments = {"folder": str(folder), "name": name, "hangs": hangs}
    return Calling(called=name, session="s", function=hang_in_c, arguments=arguments, parts=str(folder), time_out_s=4.0)


@pytest.mark.chaos
def test_a_step_that_hangs_in_c_is_ended_named_and_costs_no_other_step(tmp_path):
    others = [simple_step(tmp_path, f"other{n}", chunk=n) for n in range(4)]
    steps = [hanging(tmp_path, "always"), hanging(tmp_path, "once", 1), *others]
    with connect(this_machine(2, dashboard_port=0)) as client:
        records, _ = run_all(OnCluster(client), steps, tmp_path)
    failure = records.pop("always").failure
    assert (failure.kind, failure.category) == ("TaskTimedOut", "timeout")
    assert "in hang_in_c" in failure.traceback
    assert (tmp_path / "always.tries").read_text() in ("xx", "xxx")
    assert {record.status for record in records.values()} == {"done"}


# -- nodes and disks -----------------------------------------------------------------------------------------


def test_a_node_that_fails_whatever_it_gets_is_found_and_a_good_one_is_not():
    health = NodeHealth()
    broken = Failure("OSError", "environment", "libGL is missing")
    assert health.note("bad", "s0", "pose", broken) is None
    assert health.note("good", "s0", "pose", None) is None
    verdicts = [health.note("bad", f"s{n}", "pose", broken) for n in range(1, 9)]
    assert verdicts.index(broken) == 3
    for n in range(30):
        assert health.note("good", f"s{n}", "pose", broken if n % 2 else None) is None


def test_a_node_is_not_blamed_for_what_data_or_code_or_an_outage_did():
    for failure, succeeding, succeeds_first in (
        (Failure("IndexError", "bug", "x"), "pose", False),
        (Failure("TaskTimedOut", "timeout", "x"), "pose", False),
        (Failure("OSError", "disk", "stale handle"), "pose", True),
        (Failure("OSError", "gpu", "no device"), "framepass", False),
    ):
        health = NodeHealth()
        for n in range(20):
            if succeeds_first == (n == 0):
                health.note("good", f"s{n}", succeeding, None)
            assert health.note("only GPU", f"s{n}", "pose", failure) is None, failure


def test_an_environment_that_failed_three_sessions_is_tried_by_one_after_an_hour(monkeypatch):
    """By as many as there are where it works again, and by none for another hour where it does not."""
    now_s = 0.0
    monkeypatch.setattr(circuit_breakers, "time", SimpleNamespace(monotonic=lambda: now_s))
    health, spec = EnvironmentHealth(), TaskSpec("DLC", "ibllib.pipes.video_tasks.DLC", env="dlc")
    failed = (Failure("MissingEnvironment", "environment", "no package"),)
    assert [health.note(spec, failed) is not None for _ in range(4)] == [False, False, True, False]
    assert "for an hour" in health.reason(spec).message
    now_s = circuit_breakers.ENVIRONMENT_PAUSE_S + 1
    assert health.reason(spec) is None
    assert health.note(spec, failed) is not None
    assert health.reason(spec) is not None
    now_s *= 3
    assert health.reason(spec) is None
    assert health.note(spec, ()) is None
    assert [health.note(spec, failed) is not None for _ in range(3)] == [False, False, True]


def test_one_bad_session_or_a_fault_of_all_nodes_turns_no_node_away():
    health = NodeHealth()
    bug = Failure("OSError", "environment", "libGL is missing")
    assert not any(health.note(node, f"s{n}", "pose", bug) for n in range(20) for node in ("a", "b"))
    health = NodeHealth()
    for n in range(20):
        assert health.note("bad", "s1", "pose", bug) is None
        health.note("good", f"s{n}", "pose", None)
    assert not any(health.note("bad", f"s{n}", "pose", Failure("X", "corrupt_input", "cut")) for n in range(20))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 150)), max_size=40), st.integers(50, 200))
def test_no_disk_bears_more_than_its_limit_and_none_stays_idle(tasks, limit):
    budget = IoBudget(limit)
    running = {}
    for number, (device, charge) in enumerate(tasks):
        key = ("s", str(number))
        before = sum(c for d, c in running.values() if d == device)
        is_started = budget.start(device, key, charge)
        assert is_started == (before == 0 or before + charge <= limit)
        if is_started:
            running[key] = (device, charge)
        elif number % 2:
            budget.end(next(k for k, (d, _) in running.items() if d == device))
            del running[next(k for k, (d, _) in running.items() if d == device)]
