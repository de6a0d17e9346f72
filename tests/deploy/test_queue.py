"""What batch systems say of our jobs."""

import pytest

from ibl_dask.deploy.queue import Queued, log_tail, parse_qstat, parse_squeue, what_it_said

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
    assert parse_qstat(PBS_PRO) == {"1234": Queued("R"), "1235": Queued("Q"), "1236": Queued("H")}


def test_a_job_that_a_pbs_still_shows_after_its_end_is_not_in_the_queue():
    assert parse_qstat(TORQUE) == {"71": Queued("R")}


@pytest.mark.parametrize("text", ["", "\n", "qstat: unknown\n", "no jobs for anne\n"])
def test_an_empty_queue_is_an_empty_queue(text):
    assert parse_qstat(text) == {}
    assert parse_squeue(text) == {}


def test_squeue_gives_state_and_reason():
    text = "7|PENDING|(Resources)\n8|RUNNING|None\n9_[1-3]|PENDING|Priority\n"
    assert parse_squeue(text) == {"7": Queued("PENDING", "(Resources)"), "8": Queued("RUNNING")}


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
    assert what_it_said(error) == "sbatch: error: invalid partition: x"
    error = RuntimeError("Command exited\nExit code: 1\nstdout:\nqsub: unknown queue x\nstderr:\n\n")
    assert what_it_said(error) == "qsub: unknown queue x"
    assert what_it_said(OSError("no such program: sbatch")) == "no such program: sbatch"
    assert what_it_said(RuntimeError()) == "RuntimeError"
