import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ibl_dask.deploy.doctor import examine as examination
from ibl_dask.deploy.doctor.examine import absence_reasons, examine
from ibl_dask.deploy.doctor.finding import Importance
from ibl_dask.deploy.site.profile import Pool, Profile, this_machine
from ibl_dask.errors import RunError

HERE = this_machine(1, dashboard_port=0)


def by_check(findings, place):
    return {finding.check: finding for finding in findings if finding.place == place}


def test_a_machine_is_examined_from_end_to_end(tmp_path):
    folder = tmp_path / "new" / "work"
    told = []
    findings = examine(HERE, folder, wait_s=60, seen_within_s=5, progress=told.append)
    assert [f for f in findings if f.importance > Importance.WARNING] == []
    assert by_check(findings, "driver").keys() >= {"versions", "codecs", "work folder", "open files", "quota"}
    assert by_check(findings, "pool cpu").keys() == {
        *("worker", "shared folder", "clock", "versions", "codecs", "work folder", "local scratch", "quota"),
        *("open files", "new files", "threads"),
    }
    assert told[0] == "waiting for a worker of pool cpu"
    assert not folder.parent.exists()


def test_a_work_folder_that_was_there_stays(tmp_path):
    (tmp_path / "mine").write_text("x")
    examine(HERE, tmp_path, wait_s=60, seen_within_s=5)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_nothing_is_started_where_the_batch_commands_are_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    site = Profile("site", (Pool("cpu", "slurm"),))
    findings = examine(site, tmp_path)
    assert by_check(findings, "driver")["commands of slurm"].importance is Importance.PROBLEM
    assert by_check(findings, "pool cpu") == {}


def test_a_gpu_pool_whose_worker_leaves_shows_what_it_said(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("IBL_DASK_GPU_CHECK", "cuda")
    site = replace(HERE, pools=(Pool("gpu", gpus=1, min_jobs=1),))
    findings = examine(site, tmp_path, wait_s=60)
    found = by_check(findings, "pool gpu")["GPU"]
    assert found.importance is Importance.PROBLEM
    assert "left: NVIDIA's driver library is not there" in found.found


def test_workers_that_cannot_be_started_are_a_finding(tmp_path, monkeypatch):
    def start(profile):
        raise RunError("the workers could not be started", got="no memory", do="buy some")

    monkeypatch.setattr(examination, "connect", start)
    found = by_check(examine(HERE, tmp_path), "driver")["workers"]
    assert (found.importance, found.found, found.do) == (
        Importance.PROBLEM,
        "the workers could not be started: no memory",
        "buy some",
    )


def test_a_worker_that_cannot_be_asked_is_a_finding(tmp_path, monkeypatch):
    def ask(*args):
        raise AttributeError("no function of that name")

    monkeypatch.setattr(examination, "_compare_clocks", ask)
    found = by_check(examine(HERE, tmp_path, wait_s=60, seen_within_s=5), "pool cpu")
    assert found["worker"].importance is Importance.PROBLEM
    assert "no function of that name" in found["worker"].found


def test_a_folder_that_the_worker_does_not_see_is_told_and_not_measured(tmp_path, monkeypatch):
    real = examination._at

    def elsewhere(client, address, function, path, *args, **kwargs):
        return real(client, address, function, path.with_name("another"), *args, **kwargs)

    monkeypatch.setattr(examination, "_at", elsewhere)
    found = by_check(examine(HERE, tmp_path / "work", wait_s=60, seen_within_s=0.2), "pool cpu")
    assert found["shared folder"].importance is Importance.PROBLEM
    assert "nothing" in found["shared folder"].found
    assert "codecs" not in found


def cluster(states=(), refused=(), hopeless="", workers=()):
    """Return a client to a batch cluster that says this."""
    pools = [SimpleNamespace(pool=pool, queue=queue, failure=failure) for pool, queue, failure in states]
    return SimpleNamespace(
        cluster=SimpleNamespace(pools=lambda: pools, unschedulable_reason=lambda asked: hopeless),
        get_events=lambda topic: [(0.0, {"worker": name, "host": "n1", "problem": text}) for name, text in refused],
        scheduler_info=lambda n_workers: {"workers": {f"tcp://{i}": worker for i, worker in enumerate(workers)}},
    )


CPU, BIG = Pool("cpu", "slurm"), Pool("cpu-big", "slurm")
SITE = Profile("site", (CPU, BIG))


def test_what_is_said_of_a_pool_is_not_said_of_another():
    client = cluster([(CPU, {"7": "PENDING Resources"}, ""), (BIG, {}, "job 8 ended: its log")])
    assert absence_reasons(client, CPU) == ["job 7: PENDING Resources"]
    assert absence_reasons(client, BIG) == ["job 8 ended: its log"]


def first_workers(client, site, wait_s=1.0):
    return {pool.name: found for pool, found in examination._first_workers(client, site, wait_s)}


def test_workers_belong_to_the_pool_of_their_name_and_one_that_is_leaving_is_none():
    workers = [
        {"name": "cpu-big-0-1", "resources": {"CPU": 1}},
        {"name": "cpu-1", "resources": {"CPU": 1}},
        {"name": "cpu-0", "resources": {}},
    ]
    found = first_workers(cluster(workers=workers), SITE)
    assert found == {"cpu": ("cpu-1", "tcp://1"), "cpu-big": ("cpu-big-0-1", "tcp://0")}


def test_a_pool_all_of_whose_workers_left_is_not_waited_for():
    double = Pool("gpu", "slurm", gpus=2, cores=2, workers_per_job=2)
    refused = [("gpu-0-0", "no driver"), ("gpu-0-1", "no memory")]
    found = first_workers(cluster(refused=refused), Profile("site", (double,)), 600.0)["gpu"]
    assert found.found == "worker gpu-0-1 on n1 left: no memory"
    assert "--exclude=n1" in found.do
    found = first_workers(cluster(refused=refused[:1]), Profile("site", (double,)))["gpu"]
    assert found.found.startswith("no worker within")


@pytest.mark.parametrize(("hopeless", "said"), [("", "PENDING"), ("it was refused four times", "refused four times")])
def test_a_pool_without_worker_is_waited_for_until_it_is_hopeless(hopeless, said):
    client = cluster([(CPU, {"7": "PENDING Resources"}, "")], hopeless=hopeless)
    start_s = time.monotonic()
    ((_, found),) = examination._first_workers(client, replace(SITE, pools=(CPU,)), 600.0 if hopeless else 1.0)
    assert said in found.found
    assert hopeless or time.monotonic() - start_s > 1.0
