"""Nodes whose GPU does not work are left out, where the batch system can be told so."""

import re
from pathlib import Path

import pytest

from ibl_dask.deploy.cluster.failure_advice import given_up
from ibl_dask.deploy.cluster.gpu import Gpu, node_at_fault
from ibl_dask.deploy.cluster.job_script import job_script
from ibl_dask.deploy.cluster.node_exclusion import can_exclude, exclude_nodes, format_excluded, unusable_nodes
from ibl_dask.deploy.cluster.scaling import Health
from ibl_dask.deploy.site.profile import Pool, Profile

SLURM = Pool("gpu", "slurm", gpus=1, queue="gpu")


def said(worker, node, problem="it does not answer within 45 s", of="gpu"):
    told = {"worker": worker, "host": node or "somewhere", "job": "7", "reason": "", "problem": problem, "node": node}
    return {**told, "of": of}


def test_nodes_belong_to_the_pool_whose_worker_was_there():
    told = [said("gpu-0", "n3"), said("gpu-1-1", "n4", "cuInit: broken"), said("gpu2-0", "n5"), said("gpu-4", "")]
    assert unusable_nodes(SLURM, told) == {
        "n3": "a GPU does not work: it does not answer within 45 s",
        "n4": "a GPU does not work: cuInit: broken",
    }
    assert unusable_nodes(SLURM, []) == {}


def test_a_node_that_does_not_see_the_data_is_of_no_use_to_any_pool():
    told = [said("cpu-0", "n1", "/data/001 is not seen there: No such file", "node"), said("cpu-1", "n2")]
    for pool, others in ((SLURM, []), (Pool("cpu", "slurm"), ["n2"])):
        assert unusable_nodes(pool, told).keys() == {"n1", *others}
    assert unusable_nodes(SLURM, told) == {"n1": "/data/001 is not seen there: No such file"}


def test_a_pool_without_a_node_that_sees_the_data_is_told_of_the_place():
    left = f"worker cpu-3 on n2 left: /data/001 is not seen there: No such file{format_excluded({'n1': 'the same'})}"
    text = str(given_up(Profile(pools=(SLURM,)), SLURM, Health(4, reason=left)))
    assert "/data/001 is not seen there" in text
    assert "give `queue` a queue whose nodes see sessions, results and work folder" in text


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((), "n3,n4"),
        (("--exclude=n[1-2]",), "n[1-2],n3,n4"),
        (("--exclude n1",), "n1,n3,n4"),
        (("-x n1",), "n1,n3,n4"),
        (("-xn1",), "n1,n3,n4"),
        (('--exclude="n1,n2"',), "n1,n2,n3,n4"),
        (("--exclude=n8", "--exclude=n9"), "n9,n3,n4"),
        (("--exclude=/shared/bad_nodes.txt",), ""),
    ],
)
def test_what_the_profile_leaves_out_stays_left_out(own, expected):
    pool = Pool("gpu", "slurm", gpus=1, queue="gpu", directives=("--constraint=a100", *own, "--exclusive"))
    assert can_exclude(pool, ["n3", "n4"]) == bool(expected)
    changed = exclude_nodes(pool, ["n3", "n4"])
    if not expected:  # a file of nodes, to which none can be added
        assert changed == pool
        return
    assert changed.directives == ("--constraint=a100", "--exclusive", f"--exclude={expected}")
    script = job_script(Profile(pools=(pool,)), changed, "gpu-1", "tcp://a:1", log_folder=Path("/logs"))
    assert re.findall(r"^#SBATCH (?:--exclude|-x).*", script, re.MULTILINE) == [f"#SBATCH --exclude={expected}"]


def test_without_a_broken_node_jobs_are_as_their_profile_says():
    assert exclude_nodes(SLURM, []) is SLURM
    assert format_excluded({}) == ""


def test_a_pool_that_is_refused_for_lack_of_nodes_is_told_of_those_that_were_left_out():
    refused = "refused: sbatch: error: Requested node configuration is not available"
    left = format_excluded({"n3": "a GPU does not work: cuInit", "n4": "it does not answer within 45 s"})
    text = str(given_up(Profile(pools=(SLURM,)), SLURM, Health(4, reason=refused + left)))
    assert "left out is n3: a GPU does not work: cuInit" in text
    assert "left out is n4: it does not answer" in text
    assert "give `queue` a queue with nodes whose GPUs work" in text


def test_a_pbs_cannot_be_told_to_leave_nodes_out():
    pool = Pool("gpu", "pbs", gpus=1, queue="gpu")
    assert exclude_nodes(pool, ["n3"]) is pool


@pytest.mark.parametrize(
    ("gpu", "environment", "expected"),
    [
        (Gpu("0", True, problem="it does not answer"), {"SLURMD_NODENAME": "n3"}, "n3"),
        (Gpu("0", True, "A100"), {"SLURMD_NODENAME": "n3"}, ""),
        (Gpu("", problem="a job without GPU"), {"SLURMD_NODENAME": "n3"}, ""),
        (Gpu("0", True, problem="it does not answer"), {"PBS_JOBID": "7.head"}, ""),
    ],
    ids=["broken", "sound", "none was given", "no Slurm"],
)
def test_a_node_is_at_fault_only_where_its_gpu_was_tried(gpu, environment, expected):
    assert node_at_fault(gpu, environment) == expected
