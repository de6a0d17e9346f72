"""Slurm and PBS pass the tests of a batch system, with answers as they print them."""

# ruff: noqa: RUF012  # attributes of a class of tests are read only

from batch_system_tests import Answer, BatchSystemTests

from ibl_dask.deploy.batch_systems.pbs import Pbs
from ibl_dask.deploy.batch_systems.slurm import Slurm

PBS_PRO = """
head:
                                                            Req'd  Req'd   Elap
Job ID          Username Queue    Jobname    SessID NDS TSK Memory Time  S Time
--------------- -------- -------- ---------- ------ --- --- ------ ----- - -----
1234.head       anne     workq    ibl-cpu-0    5544   1   4    8gb 01:00 R 00:10
1235.head       anne     workq    ibl-cpu-1     --    1   4    8gb 01:00 Q   --
1236[].head     anne     workq    ibl-X-2       --    1   4    8gb 01:00 H   --
1237.head       anne     workq    ibl-cpu-3    5545   1   4    8gb 01:00 F 01:00
"""
SCONTROL = """JobId=4711 JobName=ibl-cpu-0
   UserId=anne(1000) GroupId=lab(1000) MCS_label=N/A
   JobState=TIMEOUT Reason=TimeLimit Dependency=(null)
   RunTime=01:00:12 TimeLimit=01:00:00 TimeMin=N/A
   ExitCode=0:15
"""


class TestSlurm(BatchSystemTests):
    system = Slurm()
    job_number = job_id = "4711"
    environment = {"SLURM_JOB_ID": "4711", "SLURMD_NODENAME": "n3"}
    node = "n3"
    submitted = "Submitted batch job 4711"
    queue = "7|PENDING|(Resources)\n8|RUNNING|None\n9_[1-3]|PENDING|Priority\n"
    expected_queue = {"7": "PENDING", "8": "RUNNING"}
    answers = (
        Answer("running", "RUNNING\n"),
        Answer("running", "COMPLETING\n"),
        Answer("suspended", "SUSPENDED\n"),
        Answer("ended", "COMPLETED\n"),
        Answer("ended", "PENDING\n"),
        Answer("ended", "NODE_FAIL\n"),
        Answer("ended"),
        Answer("ended", err="slurm_load_jobs error: Invalid job id specified", code=1),
        Answer("unknown", err="slurm_load_jobs error: Unable to contact slurm controller", code=1),
        Answer("unknown", "SOMETHING_NEW\n"),
    )
    refusals = {
        "sbatch: error: invalid partition specified: abroad": "queue",
        "sbatch: error: Batch job submission failed: Invalid account or account/partition combination": "account",
        "sbatch: error: Batch job submission failed: Invalid generic resource (gres) specification": "gpus",
        "sbatch: error: Memory specification can not be satisfied": "memory",
        "sbatch: error: Requested node configuration is not available": "cores",
        "sbatch: error: Requested time limit is invalid (missing or exceeds some limit)": "walltime",
    }
    walltimes = {"01:00:00": 3600, "1-00:00:00": 86_400, "UNLIMITED": None, "": None}
    exceeded = (SCONTROL, "")
    not_exceeded = (("", ""), (SCONTROL.replace("TIMEOUT", "CANCELLED"), "walltime 3623 exceeded limit 3600"))
    bad_directives = {
        "--time=3:00:00": "the key walltime sets this",
        "-pfast": "the key queue sets this",
        "--account=x": "the key account sets this",
        "--ntasks=4": "the key cores sets this",
        "--mem-per-cpu=2G": "the key memory sets this",
        "--output=a": "the key log_folder sets this",
        "--array=1-9": "many jobs of one",
    }

    def test_a_job_without_gpus_is_known_by_its_variables(self) -> None:
        assert self.system.is_without_gpu({"SLURM_JOB_ID": "7"})
        assert not self.system.is_without_gpu({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "1"})


class TestPbs(BatchSystemTests):
    system = Pbs()
    job_number = "1234.head"
    job_id = "1234"
    environment = {"PBS_JOBID": "1234.head"}
    submitted = "1234.head"
    queue = PBS_PRO
    expected_queue = {"1234": "R", "1235": "Q", "1236": "H"}
    answers = (
        Answer("running", PBS_PRO),
        Answer("suspended", PBS_PRO.replace(" R 00:10", " S 00:10")),
        Answer("ended", PBS_PRO.replace(" R 00:10", " Q 00:10")),
        Answer("ended", err="qstat: Unknown Job Id 1234.head", code=153),
        Answer("ended", err="qstat: 1234.head Job has finished, use -x or -H", code=35),
        Answer("unknown", err="cannot connect to server head", code=111),
    )
    refusals = {
        "qsub: Unknown queue": "queue",
        "qsub: Invalid account": "account",
        "qsub: Job rejected: ngpus exceed the limit": "gpus",
        "qsub: Requested walltime is too long": "walltime",
    }
    walltimes = {"3600": 3600, "01:00:00": 3600, "24:00:00": 86_400, "none": None}
    exceeded = ("", "=>> PBS: job killed: walltime 3623 exceeded limit 3600\n")
    not_exceeded = (("", ""), ("", "=>> PBS: job killed: mem 5gb exceeded limit 4gb\n"))
    bad_directives = {
        "-l walltime=3:00:00": "the key walltime sets this",
        "-q fast": "the key queue sets this",
        "-A x": "the key account sets this",
        "-l ncpus=4": "the key cores sets this",
        "-l mem=2gb": "the key memory sets this",
        "-o a": "the key log_folder sets this",
        "-J 1-9": "many jobs of one",
    }
