"""A step that is longer than its job is refused before it starts, and counts as that when it was ended."""

import asyncio
import re
from dataclasses import replace
from functools import partial

import pytest
from program import says

from ibl_dask.cli import plan, session_plans
from ibl_dask.deploy.batch_systems.commands import exceeded_walltime_s
from ibl_dask.deploy.batch_systems.registry import batch_system
from ibl_dask.deploy.cluster.walltime_ends import RunningSteps, cut_short
from ibl_dask.deploy.site.capacity import Duration, too_long_lines
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.deploy.site.walltime import guaranteed_s
from ibl_dask.model import events
from ibl_dask.model.step import Resources, StepRecord
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.store.run_record import RunRecord

HOUR = 3600.0
CPU = Pool("cpu", "slurm", max_jobs=4, memory_gb=4.0, walltime_s=3600)
LONG = Pool("long", "slurm", max_jobs=1, memory_gb=4.0, walltime_s=36_000)
GPU = Pool("gpu", "slurm", max_jobs=1, memory_gb=4.0, gpus=1, walltime_s=36_000)
ESTIMATE = Resources(cpu=8, memory_gb=64, is_estimate=True)


def compared(pools, seconds, resources=ESTIMATE, source="recorded"):
    return too_long_lines(Profile(pools=pools), [Duration("Sorting", resources, seconds, source)])


def test_a_step_that_no_job_is_long_enough_for_is_refused_with_both_figures():
    (line,), notes = compared((CPU,), 2 * HOUR)
    says(line, "Sorting takes longer than its jobs last", "walltime of pool cpu, 01:00:00", "02:00:00 (recorded)")
    assert notes == []
    (line,), _ = compared((CPU,), 2 * HOUR, source="declared")
    says(line, "02:00:00 (declared)", "time_out_secs")


def test_the_walltime_that_is_advised_is_enough():
    (line,), _ = compared((CPU,), 2 * HOUR)
    hours, minutes, seconds = map(int, re.findall(r"`walltime: (\d+):(\d\d):(\d\d)`", line)[0])
    better = Pool("cpu", "slurm", max_jobs=4, walltime_s=3600 * hours + 60 * minutes + seconds)
    assert guaranteed_s(better) >= 2 * HOUR
    assert compared((better,), 2 * HOUR) == ([], [])


@pytest.mark.parametrize(
    ("pools", "seconds", "resources"),
    [
        ((CPU,), 0.5 * HOUR, ESTIMATE),
        ((CPU, LONG), 2 * HOUR, ESTIMATE),
        ((Pool("cpu", "slurm", walltime_s=None),), 99 * HOUR, ESTIMATE),
        ((Pool("cpu", "local"),), 99 * HOUR, ESTIMATE),
        ((CPU, GPU), 2 * HOUR, Resources(gpu=1, memory_gb=2)),
    ],
    ids=["short", "another pool", "no walltime", "this machine", "GPU"],
)
def test_what_ends_in_some_job_is_not_refused(pools, seconds, resources):
    assert compared(pools, seconds, resources)[0] == []


def test_a_pool_that_lacks_what_a_step_asks_for_is_not_counted_on():
    small = Pool("small", "slurm", memory_gb=1.0, walltime_s=360_000)
    (line,), _ = compared((CPU, small), 2 * HOUR, Resources(memory_gb=4.0))
    says(line, "pool cpu")


def test_what_ends_only_by_chance_is_noted_with_both_figures():
    refused, (note,) = compared((CPU,), 0.9 * HOUR)
    assert refused == []
    says(note, "00:54:00 (recorded)", "01:00:00", "surely takes steps for 00:39:00")


PROFILE = """scratch: {folder}
pools:
  cpu:
    scheduler: slurm
    max_jobs: 2
    memory: 4 GB
    walltime: 00:30:00
"""


def test_plan_refuses_a_task_that_earlier_runs_show_to_be_longer_than_its_jobs(tmp_path, monkeypatch, capsys):
    """By its record, which counts more than what it declares."""
    session = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    session.mkdir(parents=True)
    (session / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    profile = tmp_path / "site.yaml"
    profile.write_text(PROFILE.format(folder=tmp_path / "work"))
    specs = [TaskSpec("Sorting", "long_tasks.Sorting"), TaskSpec("Quick", "long_tasks.Quick")]
    monkeypatch.setattr(session_plans, "make_pipeline", partial(make_pipeline, specs=specs))

    def planned():
        code = plan.show_plan([str(session)], None, None, None, profile)
        return code, " ".join(capsys.readouterr().out.split())

    code, text = planned()
    assert code == 1
    says(text, "Sorting takes longer than its jobs last", "02:30:00 (declared)", "00:30:00", "site.yaml, line 7")
    assert "Quick takes longer" not in text
    record = StepRecord(("Sorting", "s", "f", 0), "done", seconds=4000.0)
    with RunRecord(tmp_path / "work", "20230101T000000-abcdef") as made:
        made.append(events.to_json(events.StepFinished(str(session), record)))
    code, text = planned()
    assert code == 1
    says(text, "01:06:40 (recorded)", "00:30:00")
    profile.write_text(profile.read_text().replace("00:30:00", "02:00:00"))
    assert planned()[0] == 0


def test_a_step_that_had_all_of_a_jobs_time_is_hopeless_and_another_is_not():
    key = ("Sorting", "SW_001/2023-05-01/001", "f", 0)
    surely = guaranteed_s(CPU)
    early, late = (cut_short(Profile(pools=(CPU,)), CPU, key, seconds) for seconds in (surely - 1, surely + 1))
    assert (early.is_final, late.is_final) == (False, True)
    says(str(late.error), "this step takes longer than its job lasts", "Sorting of SW_001", "pool cpu")
    says(str(late.error), "walltime of a job, 01:00:00", "had run for 00:39:01", "`walltime`")


def test_where_the_site_alone_sets_a_limit_a_short_step_that_it_cut_off_is_tried_again():
    """The profile has no walltime, so nothing tells a worker when to take no further steps."""
    pool = replace(CPU, walltime_s=None)
    key = ("Sorting", "SW_001/2023-05-01/001", "f", 0)
    early, late = (cut_short(Profile(pools=(pool,)), pool, key, seconds, 3600) for seconds in (2.0, 3500.0))
    assert (early.is_final, late.is_final) == (False, True)
    says(str(late.error), "an end within the walltime of a job, 01:00:00", "had run for 00:58:20")


class Worker:
    def __init__(self, **executing):
        self.executing = {Task(key): seconds for key, seconds in executing.items()}


class Task:
    def __init__(self, key):
        self.key = key


def test_what_a_worker_did_when_it_was_last_seen_is_known_once():
    doings = RunningSteps()
    assert doings.update({"cpu-0": Worker(a=1.0), "cpu-1": Worker()}) == {}
    assert doings.update({"cpu-0": Worker(a=2.0, b=0.1), "cpu-1": Worker(c=0.5)}) == {}
    assert doings.update({"cpu-1": Worker(c=1.0)}) == {"a": 2.0, "b": 0.1}
    assert doings.update({"cpu-1": Worker()}) == {}
    assert doings.update({}) == {}


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ("=>> PBS: job killed: walltime 3623 exceeded limit 3600\n", 3600),
        ("=>> PBS: job killed: mem 5gb exceeded limit 4gb\n", None),
        ("Terminated\n", None),
    ],
)
def test_a_pbs_says_in_the_log_that_a_walltime_ended_a_job(tmp_path, said, limit):
    (tmp_path / "cpu-0-17.log").write_text("some words\n" + said)
    assert asyncio.run(exceeded_walltime_s(batch_system("pbs"), "17", [tmp_path])) == limit
