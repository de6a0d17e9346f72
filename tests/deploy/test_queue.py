"""Answers of batch systems about jobs."""

import pytest

from ibl_dask.deploy.batch_systems.job_logs import log_tail
from ibl_dask.deploy.batch_systems.pbs import Pbs
from ibl_dask.deploy.batch_systems.protocol import QueuedJob
from ibl_dask.deploy.batch_systems.refusals import refusal_text
from ibl_dask.deploy.batch_systems.registry import ask_job
from ibl_dask.deploy.batch_systems.slurm import Slurm

# As printed by each system; host and user names are made up.
PBS_PRO = """
head:
                                                            Req'd  Req'd   Elap
Job ID          Username Queue    Jobname    SessID NDS TSK Memory Time  S Time
--------------- -------- -------- ---------- ------ --- --- ------ ----- - -----
1234.head       anne     workq    ibl-cpu-0    5544   1   4    8gb 01:00 R 00:10
1235.head       anne     workq    ibl-cpu-1     --    1   4    8gb 01:00 Q   --
1236[].head     anne     workq    ibl-X-2       --    1   4    8gb 01:00 H   --
"""
TORQUE = """Job id              Name             Username        Time Use S Queue
------------------- ---------------- --------------- -------- - ---------------
71                  ibl-cpu-0        anne            00:00:03 R cpu
72                  ibl-E-1          anne            00:00:00 C cpu
"""


def test_pbs_tables_of_both_kinds_are_read():
    assert Pbs().parse_queue(PBS_PRO) == {"1234": QueuedJob("R"), "1235": QueuedJob("Q"), "1236": QueuedJob("H")}


def test_a_job_that_a_pbs_still_shows_after_its_end_is_not_in_the_queue():
    assert Pbs().parse_queue(TORQUE) == {"71": QueuedJob("R")}


@pytest.mark.parametrize("text", ["", "\n", "qstat: unknown\n", "no jobs for anne\n"])
def test_an_empty_queue_is_an_empty_queue(text):
    assert Pbs().parse_queue(text) == {}
    assert Slurm().parse_queue(text) == {}


def test_squeue_gives_state_and_reason():
    text = "7|PENDING|(Resources)\n8|RUNNING|None\n9_[1-3]|PENDING|Priority\n"
    assert Slurm().parse_queue(text) == {"7": QueuedJob("PENDING", "(Resources)"), "8": QueuedJob("RUNNING")}


def test_the_end_of_the_log_of_this_job_is_shown_and_of_no_other(tmp_path):
    (tmp_path / "cpu-0-17.log").write_text("".join(f"line {i}\n" for i in range(100)))
    (tmp_path / "cpu-1-170.log").write_text("another job\n")
    tail = log_tail("17", [tmp_path])
    assert "line 99" in tail
    assert "line 80" not in tail
    assert "another job" not in tail
    assert log_tail("18", [tmp_path]) == ""


def test_of_a_refusal_only_what_the_batch_system_said_is_kept():
    error = RuntimeError("Command exited\nExit code: 1\nstdout:\n\nstderr:\nsbatch: error: invalid partition: x\n\n")
    assert refusal_text(error) == "sbatch: error: invalid partition: x"
    error = RuntimeError("Command exited\nExit code: 1\nstdout:\nqsub: unknown queue x\nstderr:\n\n")
    assert refusal_text(error) == "qsub: unknown queue x"
    assert refusal_text(OSError("no such program: sbatch")) == "no such program: sbatch"
    assert refusal_text(RuntimeError()) == "RuntimeError"


def command(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("echo RUNNING", "running"),
        ("echo COMPLETING", "running"),
        ("echo SUSPENDED", "suspended"),
        ("echo COMPLETED", "ended"),
        ("echo PENDING", "ended"),  # it was taken back into the queue
        ("echo NODE_FAIL", "ended"),
        ("", "ended"),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", "ended"),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", "unknown"),
        ("echo SOMETHING_NEW", "unknown"),
        ("sleep 30", "unknown"),
    ],
)
def test_a_slurm_is_asked_of_one_job_of_whomever(tmp_path, monkeypatch, said, state):
    if "sleep" in said:
        monkeypatch.setattr("ibl_dask.deploy.batch_systems.commands.QUERY_S", 0.5)
    command(
        tmp_path,
        "squeue",
        f'case "$*" in *--jobs=4711*) ;; *) exit 3 ;; esac\n{said.replace("sleep", "exec /bin/sleep")}',
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_job("4711") == state


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (f"cat <<'X'\n{PBS_PRO}\nX", "running"),
        (f"cat <<'X'\n{PBS_PRO.replace(' R 00:10', ' S 00:10')}\nX", "suspended"),
        (f"cat <<'X'\n{PBS_PRO.replace(' R 00:10', ' Q 00:10')}\nX", "ended"),
        ("echo 'qstat: Unknown Job Id 1234.head' >&2; exit 153", "ended"),
        ("echo 'qstat: 1234.head Job has finished, use -x or -H' >&2; exit 35", "ended"),
        ("echo 'cannot connect to server head' >&2; exit 111", "unknown"),
    ],
)
def test_a_pbs_is_asked_of_one_job_of_whomever(tmp_path, monkeypatch, said, state):
    command(tmp_path, "qstat", said.replace("cat <<", "/bin/cat <<"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_job("1234.head") == state


@pytest.mark.parametrize("number", ["", "interactive", "4711"])
def test_where_there_is_no_batch_system_nothing_is_known_of_a_job(tmp_path, monkeypatch, number):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_job(number) == "unknown"
