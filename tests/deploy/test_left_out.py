"""Nodes whose GPU does not work are left out, where the batch system can be told so."""

import re
from pathlib import Path

import pytest

from ibl_dask.deploy.blame import given_up
from ibl_dask.deploy.gpu import Gpu, node_at_fault
from ibl_dask.deploy.jobs import job_script
from ibl_dask.deploy.keeper import Health
from ibl_dask.deploy.left_out import broken_nodes, excluded, leaving_out, say_left_out
from ibl_dask.deploy.profile import Pool, Profile

SLURM = Pool("gpu", "slurm", gpus=1, queue="gpu")


def said(worker, node, problem="it does not answer within 45 s"):
    return {"worker": worker, "host": node or "somewhere", "job": "7", "reason": "", "problem": problem, "node": node}


def test_nodes_belong_to_the_pool_whose_worker_was_there():
    told = [said("gpu-0", "n3"), said("gpu-1-1", "n4", "cuInit: broken"), said("gpu2-0", "n5"), said("gpu-4", "")]
    assert broken_nodes(SLURM, told) == {"n3": "it does not answer within 45 s", "n4": "cuInit: broken"}
    assert broken_nodes(SLURM, []) == {}


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
    assert excluded(pool, ["n3", "n4"]) == expected
    changed = leaving_out(pool, ["n3", "n4"])
    if not expected:  # a file of nodes, to which none can be added
        assert changed == pool
        return
    assert changed.directives == ("--constraint=a100", "--exclusive", f"--exclude={expected}")
    script = job_script(Profile(pools=(pool,)), changed, "gpu-1", "tcp://a:1", log_folder=Path("/logs"))
    assert re.findall(r"^#SBATCH (?:--exclude|-x).*", script, re.MULTILINE) == [f"#SBATCH --exclude={expected}"]


def test_without_a_broken_node_jobs_are_as_their_profile_says():
    assert leaving_out(SLURM, []) is SLURM
    assert say_left_out({}) == ""


def test_a_pool_that_is_refused_for_lack_of_nodes_is_told_of_those_that_were_left_out():
    refused = "refused: sbatch: error: Requested node configuration is not available"
    left = say_left_out({"n3": "cuInit: broken", "n4": "it does not answer within 45 s"})
    text = given_up(Profile(pools=(SLURM,)), SLURM, Health(4, said=refused + left))
    assert "left out is n3, where a GPU does not work: cuInit: broken" in text
    assert "left out is n4, where a GPU does not work: it does not answer" in text
    assert "give `queue` a queue with nodes whose GPUs work" in text


def test_a_pbs_cannot_be_told_to_leave_nodes_out():
    pool = Pool("gpu", "pbs", gpus=1, queue="gpu")
    assert leaving_out(pool, ["n3"]) is pool


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
