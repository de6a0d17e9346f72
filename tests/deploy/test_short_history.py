"""Memory of a scheduler over many steps: what Dask keeps of finished ones does not grow with their number."""

from __future__ import annotations

import time

import dask
import pytest
from distributed import Client, LocalCluster, span
from simple_steps import hold, simple_step

from ibl_dask.deploy.cluster import short_history
from ibl_dask.pipeline.executors import OnCluster

N_STEPS = 40


@pytest.fixture(autouse=True)
def _few_kept(monkeypatch):
    monkeypatch.setattr(short_history, "MOST_KEPT", 20)


def spans(dask_scheduler):
    """Return name, number of groups and number of described tasks of each span."""
    found = dask_scheduler.extensions["spans"].spans.values()
    return [(each.name, len(each.groups), len((each.metadata or {"collections": ()})["collections"])) for each in found]


def computation(dask_scheduler):
    """Return the number of groups of the computation that goes on."""
    return len(dask_scheduler.computations[-1].groups)


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_scheduler_forgets_finished_steps_however_many_there_were(client, tmp_path, is_busy):
    """Each step comes when all before it are done, or beside one that goes on."""
    executor, before = OnCluster(client), len(client.run_on_scheduler(spans))
    steps = [simple_step(tmp_path, f"{is_busy}{number}") for number in range(N_STEPS)]
    if is_busy:
        executor.submit([simple_step(tmp_path, "long", function=hold)], tmp_path, {}, 0)
    for step in steps:
        executor.submit([step], tmp_path, {}, 0)
        record = next(executor.completed())
        assert (record.key, record.status) == (step.key, "done")
    after = client.run_on_scheduler(spans)
    assert len(after) <= before + 1
    groups, described = next(counts for name, *counts in after if name == ("ibl_dask",))
    assert groups <= 21
    assert described <= 21
    assert client.run_on_scheduler(computation) <= 21
    (tmp_path / "free").touch()
    assert [record.key.name for record in executor.completed()] == ["long"] * is_busy


def test_a_scheduler_forgets_workers_that_left():
    """Of each, Dask would keep an entry for the balancing of load, and one for its events."""

    def known(dask_scheduler):
        in_flight = dask_scheduler.extensions["stealing"].in_flight_tasks
        topics = [name for name in dask_scheduler._broker._topics if "://" in name]
        return len(in_flight), len(topics), len(dask_scheduler.workers)

    settings = {"distributed.scheduler.events-cleanup-delay": "10ms"}
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        OnCluster(client)
        for _ in range(3):
            cluster.scale(2)
            client.wait_for_workers(2)
            client.gather(client.map(abs, range(20), pure=False))
            cluster.scale(0)
            while client.run_on_scheduler(known)[2]:
                time.sleep(0.02)
            time.sleep(0.05)
        cluster.scale(1)
        client.wait_for_workers(1)
        cluster.scale(0)
        n_in_flight, n_topics, _ = client.run_on_scheduler(known)
    assert n_in_flight <= 2
    assert n_topics <= 3


def test_what_a_scheduler_keeps_of_the_tasks_of_others_stays(client, tmp_path):
    OnCluster(client)
    with span("of the user"):
        for number in range(N_STEPS):
            client.submit(abs, -number, key=f"of_the_user-{number}").result()
    ((_, groups, described),) = [each for each in client.run_on_scheduler(spans) if each[0] == ("of the user",)]
    assert groups > 0
    assert described > 21, "more than is kept of steps"
