"""Who runs steps: each after what it needs, in order of session and chunk, and few of them on the cluster at a time."""

from dataclasses import replace

import pytest
from handed_out import handed_out
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simple_steps import fail, note, simple_step

from ibl_dask.model.step import Resources
from ibl_dask.pipeline.executors import OnCluster
from ibl_dask.pipeline.in_process import InProcess
from ibl_dask.tasks.run_step import run_step


@pytest.fixture(params=["in process", "on a cluster"])
def executor(request):
    """Return each kind of executor."""
    return InProcess() if request.param == "in process" else OnCluster(request.getfixturevalue("client"))


def run_all(executor, steps, folder, known=None, priority=0):
    executor.submit(steps, folder, known or {}, priority)
    return {record.key: record for record in executor.completed()}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parents=st.lists(st.sets(st.integers(0, 24), max_size=3), min_size=1, max_size=25), backwards=st.booleans())
def test_every_step_runs_once_and_after_those_that_it_needs(parents, backwards, executor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    steps = []
    for number, wanted in enumerate(parents):
        needs = [steps[parent] for parent in wanted if parent < number]
        steps.append(simple_step(folder, f"step{number}", needs, chunk=number % 3))
    records = run_all(executor, steps[::-1] if backwards else steps, folder)
    assert records.keys() == {step.key for step in steps}
    assert executor.outstanding == 0
    ended = {step.key: float((folder / step.kind).read_text().split("\n")[0]) for step in steps}
    for step in steps:
        assert all(ended[need] <= ended[step.key] for need in step.needs)
        read = (folder / step.kind).read_text().split("\n")[1:]
        assert sorted(line for line in read if line) == sorted(f"{need[0]}:done" for need in set(step.needs))


def test_what_needs_a_failed_step_is_skipped_and_what_tolerates_it_runs(executor, tmp_path):
    bad = simple_step(tmp_path, "bad", function=fail)
    child = simple_step(tmp_path, "child", [bad])
    grandchild = simple_step(tmp_path, "grandchild", [child])
    hardy = simple_step(tmp_path, "hardy", tolerated=[bad, grandchild])
    records = run_all(executor, [hardy, grandchild, child, bad], tmp_path)
    statuses = {key[0]: record.status for key, record in records.items()}
    assert statuses == {"bad": "failed", "child": "skipped", "grandchild": "skipped", "hardy": "done"}
    assert records[grandchild.key].failure == records[bad.key].failure
    assert "bad:failed" in (tmp_path / "hardy").read_text()


def test_records_of_an_earlier_batch_reach_the_steps_that_need_them(executor, tmp_path):
    first = simple_step(tmp_path, "first")
    second = simple_step(tmp_path, "second", [first])
    known = {first.key: run_step(first, [], tmp_path)}
    assert run_all(executor, [second], tmp_path, known).keys() == {second.key}
    assert "first:done" in (tmp_path / "second").read_text()


def test_steps_that_wait_for_each_other_are_refused(executor, tmp_path):
    one = simple_step(tmp_path, "one", [simple_step(tmp_path, "two")])
    two = simple_step(tmp_path, "two", [one])
    with pytest.raises(RuntimeError, match="circle"):
        executor.submit([one, two], tmp_path, {}, 0)


def test_the_earlier_session_and_the_earlier_chunk_come_first_on_a_cluster(client, tmp_path, monkeypatch):
    order = handed_out(monkeypatch)
    executor = OnCluster(client)
    slow = [simple_step(tmp_path, f"late{i}", chunk=i, seconds=0.2) for i in (3, 1, 2, 0)]
    executor.submit([simple_step(tmp_path, f"hold{i}", seconds=0.5) for i in range(4)], tmp_path, {}, 10)
    executor.submit(slow, tmp_path, {}, -1000)
    executor.submit([simple_step(tmp_path, f"early{i}", chunk=i, seconds=0.2) for i in (1, 0)], tmp_path, {}, 0)
    assert all(record.is_ok for record in executor.completed())
    expected = ["early0", "early1", "late0", "late1", "late2", "late3"]
    assert [key[0] for key in order if not key[0].startswith("hold")] == expected


def test_the_cluster_holds_two_steps_per_worker_however_many_wait(client, tmp_path):
    executor = OnCluster(client)
    steps = [simple_step(tmp_path, f"step{i}", chunk=i, seconds=0.02) for i in range(60)]
    executor.submit(steps, tmp_path, {}, 0)
    seen = []
    for _ in executor.completed():
        seen.append(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
        assert executor.outstanding == len(steps) - len(seen)
    # What has just ended may not be forgotten yet.
    assert max(seen) <= 2 * 2 + 2
    assert {path.name for path in tmp_path.iterdir()} == {step.kind for step in steps}


def test_what_asks_for_more_than_any_worker_has_runs_all_the_same(client, tmp_path):
    """Dask would wait forever for a worker with four cores, or with a GPU, where none has."""
    steps = [
        replace(simple_step(tmp_path, name), resources=resources)
        for name, resources in (("wide", Resources(cpu=4)), ("gpu", Resources(cpu=4, gpu=1)))
    ]
    assert run_all(OnCluster(client), steps, tmp_path).keys() == {step.key for step in steps}


def test_what_is_cancelled_does_not_start_and_the_next_steps_run(executor, tmp_path):
    executor.submit([simple_step(tmp_path, f"step{i}", chunk=i, seconds=0.1) for i in range(30)], tmp_path, {}, 0)
    next(iter(executor.completed()))
    executor.cancel()
    assert executor.outstanding == 0
    assert list(executor.completed()) == []
    other = tmp_path / "other"
    other.mkdir()
    assert len(run_all(executor, [simple_step(other, "after", function=note)], other)) == 1
    assert len(list(tmp_path.iterdir())) < 12


def test_an_executor_in_this_process_keeps_no_record_that_no_step_needs(tmp_path):
    executor = InProcess()
    first = simple_step(tmp_path, "first")
    run_all(executor, [first, simple_step(tmp_path, "second", [first]), simple_step(tmp_path, "third")], tmp_path)
    assert not executor._children
    assert not executor._queue


def test_steps_of_a_session_that_is_dropped_leave_nothing_behind(client, tmp_path):
    executor = OnCluster(client)
    first = simple_step(tmp_path, "first")
    slow = simple_step(tmp_path, "slow", seconds=1.0)
    later = [simple_step(tmp_path, f"later{i}", [slow, first]) for i in range(3)]
    executor.submit([first, slow, *later], tmp_path, {}, 0)
    assert {key[0] for key in executor.drop("s")} >= {step.kind for step in later}
    for _ in executor.completed():
        pass
    assert not executor._attempts
    assert not executor._waiting._children
