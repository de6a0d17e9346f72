"""Profiles that only the cluster can find wrong: the message names the line, and says what to write there."""

import pytest
from program import says
from slurm_runs import run_it, write_profile
from waiting import wait_until

from ibl_dask.deploy.cluster import jobs, scaling
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.pipeline.executors import OnCluster

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize(
    ("key", "value", "said", "write"),
    [
        ("queue", "abroad", "invalid partition specified: abroad", "a queue that this site has"),
        ("python", "/no/where/bin/python", "/no/where/bin/python", "a Python on the node that has ibl_dask"),
        ("memory", "90 GB", "Memory specification can not be satisfied", "memory that one node has"),
        ("setup", ["module load conda"], "module: command not found", "lines that run on the node without an error"),
    ],
)
def test_the_message_names_the_line_and_what_to_write(slurm, session, tmp_path, monkeypatch, key, value, said, write):
    monkeypatch.setattr(scaling, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(jobs, "GRACE_S", 1.0)
    path = write_profile(tmp_path / "site.yaml", tmp_path, cpu={key: value})
    number = next(n for n, line in enumerate(path.read_text().splitlines(), 1) if line.strip().startswith(f"{key}:"))
    with connect(path) as client:
        result = run_it(session, OnCluster(client), tasks=["VideoRegisterRaw"])
    assert result.exit_code == 1
    (message,) = {failure.message for failure in result.sessions[0].failures}
    says(message, f"{path}, line {number}", said, f"give `{key}` {write}")
    wait_until(lambda: not slurm.jobs())
