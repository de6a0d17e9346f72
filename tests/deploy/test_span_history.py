"""Memory of a scheduler over many steps: what Dask keeps of finished ones does not grow with their number."""

from __future__ import annotations

from distributed import span
from simple_steps import simple_step

from ibl_dask.pipeline.executors import OnCluster

N_STEPS = 150


def kept(dask_scheduler):
    """Return name, number of groups and number of described tasks of each span."""
    spans = dask_scheduler.extensions["spans"].spans.values()
    return [(each.name, len(each.groups), len((each.metadata or {"collections": ()})["collections"])) for each in spans]


def test_a_scheduler_forgets_finished_steps_however_many_there_were(client, tmp_path):
    """Each step comes when all before it are done: Dask alone would keep a span, a group and a description of each."""
    executor, before = OnCluster(client), len(client.run_on_scheduler(kept))
    for number in range(N_STEPS):
        executor.submit([simple_step(tmp_path, f"step{number}")], tmp_path, {}, 0)
        assert [record.status for record in executor.completed()] == ["done"]
    after = client.run_on_scheduler(kept)
    assert len(after) <= before + 1
    groups, described = next(counts for name, *counts in after if name == ("ibl_dask",))
    assert groups <= 101
    assert described <= 101


def test_what_a_scheduler_keeps_of_the_tasks_of_others_stays(client, tmp_path):
    OnCluster(client)
    with span("of the user"):
        for number in range(N_STEPS):
            client.submit(abs, -number, key=f"of_the_user-{number}").result()
    ((_, groups, described),) = [each for each in client.run_on_scheduler(kept) if each[0] == ("of the user",)]
    assert groups > 0
    assert described == N_STEPS
