"""Slurm: `sbatch`, `squeue`, `scancel`, `scontrol`; no accounting database is needed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence

from ibl_dask.deploy.batch_systems.formats import format_duration, format_memory, parse_duration, run_as_group
from ibl_dask.deploy.batch_systems.protocol import BatchJob, Command, JobRequest, QueuedJob
from ibl_dask.deploy.batch_systems.refusals import REFUSAL_PATTERNS
from ibl_dask.store.holder import JobState

_GPU_DIRECTIVE = re.compile(r"--gres\b|--gpus|-G")
_EXCLUDE = re.compile(r"(?:--exclude(?:=|\s+)|-x\s*)(?P<nodes>\S+)")
_ALIVE = frozenset({"RUNNING", "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT"})
_SUSPENDED = frozenset({"SUSPENDED", "STOPPED"})
_ENDED = frozenset(
    [
        "COMPLETED",
        "CANCELLED",
        "FAILED",
        "TIMEOUT",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "BOOT_FAIL",
        "DEADLINE",
        "PREEMPTED",
        "REVOKED",
    ]
)
_GPU_VARIABLES = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")


class Slurm:
    """Slurm, from version 20 on."""

    name = "slurm"
    commands: tuple[str, ...] = ("sbatch", "squeue", "scancel")
    list_queues = "sinfo"
    list_accounts = "sacctmgr show assoc"
    directive_prefix = "SBATCH"
    profile_keys: tuple[tuple[str, str], ...] = (
        (r"--time\b|-t", "walltime"),
        (r"--partition\b|-p", "queue"),
        (r"--account\b|-A", "account"),
        (r"--cpus-per-task\b|-c|--ntasks\b|-n\s*\d", "cores"),
        (r"--mem(-per-(cpu|gpu))?\b", "memory"),
        (r"--output\b|-o|--error\b|-e", "log_folder"),
    )
    array_directive = r"--array\b|-a"
    placement_directive = r"--qos="
    refusal_patterns = REFUSAL_PATTERNS
    exclude_option = "--exclude={node}"
    running_states = frozenset({"RUNNING"})
    # A preempted job, or one whose node died, is held for two minutes and then waits as if just submitted.
    requeued_states = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
    ending_states = frozenset({"COMPLETING", "CANCELLED"})
    unsatisfiable_reasons = frozenset({"BadConstraints"})
    jobqueue_settings: tuple[str, ...] = ("job-cpu", "job-mem")

    def job_class(self) -> Callable[..., BatchJob]:
        from dask_jobqueue.slurm import SLURMJob

        kind: Callable[..., BatchJob] = SLURMJob
        return kind

    def job_options(self, request: JobRequest) -> dict[str, object]:
        log = str(request.log_folder).replace("%", "%%") + f"/{request.name}-%j.log"
        # A job that is preempted and starts again continues the same log.
        lines = [f"--output={shlex.quote(log)}", "--open-mode=append"]
        if request.gpus and not any(_GPU_DIRECTIVE.match(line) for line in request.directives):
            lines.append(f"--gres=gpu:{request.gpus}")
        return {
            "queue": request.queue,
            "account": request.account,
            "job_cpu": request.cores,
            "job_mem": format_memory(request.memory_gb, "G", "M"),
            "walltime": None if request.walltime_s is None else self.format_walltime(request.walltime_s),
            "job_extra_directives": [*lines, *request.directives],
        }

    def prologue(self, request: JobRequest) -> list[str]:
        return [] if request.group is None else run_as_group(request.group, request.group_line)

    def format_walltime(self, seconds: int) -> str:
        return format_duration(seconds)

    def parse_walltime(self, text: str) -> int | None:
        return parse_duration(text)

    def queue_command(self, user: str) -> Command:
        return ("squeue", "--noheader", "--user", user, "--format", "%i|%T|%r")

    def parse_queue(self, text: str) -> dict[str, QueuedJob]:
        r"""Parse `number|state|reason` lines; elements of job arrays are none of ours.

        >>> Slurm().parse_queue("12|RUNNING|None\n13|PENDING|Resources\n")["13"]
        QueuedJob(state='PENDING', reason='Resources')
        """
        jobs = {}
        for line in text.splitlines():
            number, _, rest = line.strip().partition("|")
            state, _, reason = rest.partition("|")
            if number.isdigit():
                jobs[number] = QueuedJob(state, "" if reason in ("None", "(null)") else reason)
        return jobs

    def is_job_number(self, text: str) -> bool:
        return text.isdigit()

    def state_command(self, number: str) -> Command:
        return ("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={number}")

    def parse_state(self, number: str, code: int, out: str, err: str) -> JobState:
        """Return the state of one job from the answer of `squeue`.

        >>> Slurm().parse_state("7", 0, "SUSPENDED", "")
        'suspended'
        >>> Slurm().parse_state("7", 1, "", "slurm_load_jobs error: Invalid job id specified")
        'ended'
        """
        if code != 0:
            return "ended" if "Invalid job id" in err else "unknown"
        words = out.split()
        if not words or words[0] in _ENDED | self.requeued_states:
            return "ended"
        return "suspended" if words[0] in _SUSPENDED else "running" if words[0] in _ALIVE else "unknown"

    def details_command(self, job_id: str) -> Command:
        return ("scontrol", "show", "job", job_id)

    def parse_details(self, text: str) -> str:
        fields = _fields(text)
        return ", ".join(f"{key} {fields[key]}" for key in ("JobState", "Reason", "ExitCode") if key in fields)

    def exceeded_walltime_s(self, details: str, log: str) -> int | None:
        fields = _fields(details)
        return self.parse_walltime(fields.get("TimeLimit", "")) if fields.get("JobState") == "TIMEOUT" else None

    def exclude_nodes(self, directives: Sequence[str], nodes: Sequence[str]) -> tuple[str, ...] | None:
        """Merge nodes into the `--exclude` directive.

        >>> Slurm().exclude_nodes(["--exclude=n[1-2]"], ["n7"])
        ('--exclude=n[1-2],n7',)
        """
        names = _excluded(directives, nodes)
        if not names:
            return None
        others = [line for line in directives if not _EXCLUDE.fullmatch(line)]
        return (*others, self.exclude_option.format(node=names))

    def exclude_command(self, job_id: str, directives: Sequence[str], nodes: Sequence[str]) -> Command:
        names = _excluded(directives, nodes)
        return ("scontrol", "update", f"JobId={job_id}", f"ExcNodeList={names}") if names else ()

    def job_number(self, environment: Mapping[str, str]) -> str:
        return environment.get("SLURM_JOB_ID", "")

    def node_name(self, environment: Mapping[str, str]) -> str:
        return environment.get("SLURMD_NODENAME", "")

    def is_without_gpu(self, environment: Mapping[str, str]) -> bool:
        return "SLURM_JOB_ID" in environment and not any(name in environment for name in _GPU_VARIABLES)


def _fields(text: str) -> dict[str, str]:
    """Return the `key=value` words that `scontrol show job` prints."""
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


def _excluded(directives: Sequence[str], nodes: Sequence[str]) -> str:
    """Return nodes and those that directives exclude, as a list for Slurm.

    Empty without nodes, and where the directives name a file of nodes, to which none can be added.
    """
    # Of several such options Slurm takes the last.
    own = [found["nodes"].strip("\"'") for line in directives if (found := _EXCLUDE.fullmatch(line))][-1:]
    if not nodes or any("/" in name for name in own):
        return ""
    return ",".join([*own, *nodes])
