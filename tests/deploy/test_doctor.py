from dataclasses import replace
from pathlib import Path

import pytest

from ibl_dask.deploy.cluster.gpu import Gpu
from ibl_dask.deploy.doctor import host_judgements, worker_judgements
from ibl_dask.deploy.doctor import judgements as doctor
from ibl_dask.deploy.doctor.disks import Disk, NewFile, SeenFile
from ibl_dask.deploy.doctor.facts import ProcessFacts
from ibl_dask.deploy.doctor.finding import Importance, SiteFinding, worst
from ibl_dask.deploy.site.profile import Pool, Profile, this_machine

OK, NOTE, WARNING, PROBLEM = Importance
GOOD_DISK = Disk("/work", 500.0, 200.0, 300.0, 5.0)
GOOD_GPU = Gpu("0", True, "H100", 80.0, 79.0)
FACTS = ProcessFacts(
    host="n1",
    python="/opt/python",
    versions={"python": "3.11.7", "dask": "2026.1"},
    source="abc",
    codecs={"libx264": "", "MJPEG": ""},
    work=GOOD_DISK,
    local=replace(GOOD_DISK, folder="/tmp"),
    new_file=NewFile(0o640, "me", "lab"),
    open_files=(1024, 4096),
    threads="1",
    gpu=GOOD_GPU,
    commands={"sbatch": "/bin/sbatch", "squeue": "/bin/squeue", "scancel": "/bin/scancel", "qsub": ""},
)
CPU = Pool("cpu", "slurm")
GPU = Pool("gpu", "slurm", gpus=1)
SITE = Profile("site", (CPU, GPU), source=Path("site.yaml"), lines={"umask": 3, "group": 4})


def test_a_good_site_has_no_problem():
    findings = doctor.judge_driver(FACTS, SITE) + doctor.judge_worker(FACTS, FACTS, SITE, GPU)
    assert {finding.importance for finding in findings} == {OK}
    assert worst(findings) is OK
    assert {finding.place for finding in findings} == {"driver", "pool gpu"}


def test_a_pool_without_gpu_is_not_asked_for_one():
    names = {finding.check for finding in doctor.judge_worker(FACTS, FACTS, SITE, CPU)}
    assert "GPU" not in names


def test_every_problem_says_what_to_do():
    bad = replace(
        FACTS,
        versions={"python": "3.12.1", "dask": "2026.1"},
        codecs={"libx264": "encoder libx264: not there"},
        work=Disk("/work", problem="Permission denied (/work)"),
        local=replace(GOOD_DISK, free_gb=0.1),
        new_file=NewFile(0o644, "nobody", "nogroup"),
        open_files=(64, 128),
        threads="",
        quota="nas: 95 of 100 blocks",
        gpu=replace(GOOD_GPU, problem="it does not answer"),
        commands={},
    )
    findings = doctor.judge_driver(bad, SITE) + doctor.judge_worker(FACTS, bad, SITE, GPU)
    for finding in findings:
        assert (finding.importance > NOTE) == bool(finding.do), finding
    assert sum(finding.importance is PROBLEM for finding in findings) == 11


def test_findings_are_plain_for_json():
    content = SiteFinding("driver", "clock", PROBLEM, "late", "mend it").to_json()
    assert content == {"place": "driver", "check": "clock", "importance": "problem", "found": "late", "do": "mend it"}


def test_versions_that_differ_are_named_with_both_sides():
    other = replace(FACTS, versions={"python": "3.11.7", "dask": "2025.9", "zarr": "3"}, python="/opt/other")
    found = host_judgements.judge_versions("pool cpu", FACTS, other)
    assert found.importance is PROBLEM
    assert found.found == "dask: driver 2026.1, worker 2025.9; zarr: driver none, worker 3"
    assert "/opt/other" in found.do


def test_equal_versions_of_unequal_source_are_a_problem():
    found = host_judgements.judge_versions("pool cpu", FACTS, replace(FACTS, source="def"))
    assert found.importance is PROBLEM
    assert "driver abc, worker def" in found.found


@pytest.mark.parametrize(
    ("change", "importance", "said"),
    [
        ({}, OK, "writes 200 MB/s, reads 300 MB/s"),
        ({"free_gb": 12.0}, WARNING, "12 GB free"),
        ({"free_gb": 0.5}, PROBLEM, "free"),
        ({"write_mb_s": 3.0}, WARNING, "writes 3 MB/s"),
        ({"read_mb_s": 3.0}, WARNING, "reads 3 MB/s"),
        ({"small_file_ms": 900.0}, WARNING, "a small file in 900 ms"),
        ({"problem": "Read-only file system"}, PROBLEM, "Read-only file system"),
    ],
)
def test_disks_are_judged_by_speed_and_room(change, importance, said):
    found = host_judgements.judge_disk("driver", "work folder", replace(GOOD_DISK, **change))
    assert found.importance is importance
    assert said in found.found


def test_a_disk_that_is_slow_and_full_is_as_bad_as_the_worse_of_both():
    found = host_judgements.judge_disk("driver", "work folder", replace(GOOD_DISK, free_gb=0.5, write_mb_s=1.0))
    assert found.importance is PROBLEM
    assert "free some space" in found.do
    assert "faster disk" in found.do


@pytest.mark.parametrize(
    ("limits", "importance", "do"),
    [
        ((1024, 4096), OK, ""),
        ((-1, -1), OK, ""),
        ((256, 4096), PROBLEM, "ulimit -n 500"),
        ((256, 300), PROBLEM, "at least 500"),
    ],
)
def test_open_files_are_judged_by_what_is_needed(limits, importance, do):
    found = host_judgements.judge_open_files("driver", limits, 500)
    assert found.importance is importance
    assert do in found.do


def test_the_driver_needs_files_for_every_worker():
    large = replace(SITE, pools=(replace(CPU, max_jobs=500),))
    (found,) = [f for f in doctor.judge_driver(FACTS, large) if f.check == "open files"]
    assert found.importance is PROBLEM


def test_batch_commands_are_missed_only_where_they_are_needed():
    assert host_judgements.judge_commands({}, this_machine(2)) == []
    (found,) = host_judgements.judge_commands({"sbatch": "/bin/sbatch"}, SITE)
    assert found.found == "not found: squeue, scancel"
    assert found.importance is PROBLEM


def test_files_of_workers_are_judged_by_the_profile():
    made = NewFile(0o664, "me", "staff")
    driver = NewFile(0o600, "me", "lab")
    assert worker_judgements.judge_new_file("p", driver, made, SITE).importance is OK
    wanting = replace(SITE, umask=0o007, group="lab")
    found = worker_judgements.judge_new_file("p", driver, made, wanting)
    assert found.importance is PROBLEM
    assert "site.yaml, line 3 sets 007" in found.do
    found = worker_judgements.judge_new_file("p", driver, replace(made, mode=0o660), wanting)
    assert "site.yaml, line 4" in found.do
    assert worker_judgements.judge_new_file("p", driver, NewFile(0o660, "me", "lab"), wanting).importance is OK


def test_files_of_another_user_are_a_problem():
    found = worker_judgements.judge_new_file(
        "p", NewFile(0o600, "root", "root"), NewFile(0o600, "nobody", "root"), SITE
    )
    assert found.importance is PROBLEM
    assert "belong to root" in found.found


@pytest.mark.parametrize(("threads", "importance"), [("2", OK), ("1", WARNING), ("", WARNING)])
def test_threads_are_judged_by_the_cores_of_a_worker(threads, importance):
    pool = Pool("cpu", "slurm", cores=8, workers_per_job=4)
    assert worker_judgements.judge_threads("p", threads, pool).importance is importance


@pytest.mark.parametrize(
    ("change", "importance", "said"),
    [
        ({}, OK, "79.0 of 80.0 GB free"),
        ({"free_gb": 20.0}, WARNING, "20.0 of 80.0 GB free"),
        ({"is_checked": False}, WARNING, "not tried"),
        ({"problem": "it does not answer within 45 s"}, PROBLEM, "does not answer"),
    ],
)
def test_gpus_are_judged_by_whether_they_work_and_are_free(change, importance, said):
    found = worker_judgements.judge_gpu("p", replace(FACTS, gpu=replace(GOOD_GPU, **change)))
    assert found.importance is importance
    assert said in found.found


def test_a_worker_of_a_gpu_pool_without_gpu_is_a_problem():
    assert worker_judgements.judge_gpu("p", replace(FACTS, gpu=None)).importance is PROBLEM


@pytest.mark.parametrize(
    ("there", "back", "importance", "said"),
    [
        (SeenFile(0.01), SeenFile(0.02), OK, "after 0.01 s, one of the worker after 0.02 s"),
        (SeenFile(0.01), SeenFile(29.5), WARNING, "29.50 s"),
        (SeenFile(65.0, "nothing"), None, PROBLEM, "the worker looked for a file of the driver, and found nothing"),
        (SeenFile(0.0), SeenFile(65.0, "a file with another content"), PROBLEM, "the driver looked"),
    ],
)
def test_a_folder_is_shared_if_both_see_what_the_other_wrote(there, back, importance, said):
    found = worker_judgements.judge_shared("p", "/work", there, back)
    assert found.importance is importance
    assert said in found.found


@pytest.mark.parametrize(
    ("ahead_s", "within_s", "importance"),
    [(0.01, 0.002, OK), (-3.0, 2.5, OK), (-3.0, 0.01, WARNING), (120.0, 0.1, PROBLEM)],
)
def test_clocks_are_judged_by_what_the_round_trip_can_tell(ahead_s, within_s, importance):
    assert worker_judgements.judge_clock("p", ahead_s, within_s).importance is importance


def test_a_pool_whose_worker_does_not_come_shows_what_was_said():
    found = worker_judgements.judge_absence(GPU, 300.2, ["job 7: PENDING Resources", "the end of its log"])
    assert found.place == "pool gpu"
    assert found.importance is PROBLEM
    assert found.found == "no worker within 300 s: job 7: PENDING Resources; the end of its log"
    assert "nothing was said" in worker_judgements.judge_absence(GPU, 1.0, []).found
