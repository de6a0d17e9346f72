"""PBS: PBS Pro, OpenPBS and Torque, through `qsub`, `qstat`, `qdel`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence

from ibl_dask.deploy.batch_systems.formats import format_duration, format_memory, parse_duration, stop_line
from ibl_dask.deploy.batch_systems.protocol import BatchJob, Command, JobRequest, QueuedJob
from ibl_dask.deploy.batch_systems.refusals import REFUSAL_PATTERNS
from ibl_dask.store.holder import JobState

_SELECT_DIRECTIVE = re.compile(r"-l\s*(select|nodes)=")
_EXCEEDED = re.compile(r"walltime (?:\S+ )?exceeded limit (?P<limit>\S+)", re.IGNORECASE)
_ENDED = frozenset({"C", "F", "X"})
"""States of jobs that are listed after their end: completed, finished, expired."""


class Pbs:
    """PBS Pro, OpenPBS or Torque."""

    name = "pbs"
    commands: tuple[str, ...] = ("qsub", "qstat", "qdel")
    list_queues = "qstat -Q"
    list_accounts = ""
    directive_prefix = "PBS"
    profile_keys: tuple[tuple[str, str], ...] = (
        (r"-l\s*walltime=", "walltime"),
        (r"-q", "queue"),
        (r"-A", "account"),
        (r"-[oe]", "log_folder"),
        (r"-l\s*p?v?mem=", "memory"),
        (r"-l\s*ncpus=", "cores"),
    )
    array_directive = r"-[Jt]\s*\d"
    placement_directive = r"-l\s*(select|nodes)="
    refusal_patterns = REFUSAL_PATTERNS
    exclude_option = ""
    running_states = frozenset({"R"})
    # `Q` may also be the state of a job that never ran.
    requeued_states = frozenset[str]()
    ending_states = frozenset({"E"})
    unsatisfiable_reasons = frozenset[str]()
    jobqueue_settings: tuple[str, ...] = ("resource-spec",)

    def job_class(self) -> Callable[..., BatchJob]:
        from dask_jobqueue.pbs import PBSJob

        kind: Callable[..., BatchJob] = PBSJob
        return kind

    def job_options(self, request: JobRequest) -> dict[str, object]:
        gpus = f":ngpus={request.gpus}" if request.gpus else ""
        memory = format_memory(request.memory_gb, "gb", "mb")
        # The default is the login shell, which need not be bash.
        lines = ["-S /bin/bash", "-j oe", f"-o {shlex.quote(f'{request.log_folder}/')}"]
        if request.group is not None:
            lines.append(f"-W group_list={request.group}")
        # The account is the profile's, not that of the variable PBS_ACCOUNT.
        skipped = [] if request.account else ["#PBS -A "]
        if any(_SELECT_DIRECTIVE.match(line) for line in request.directives):
            skipped.append("#PBS -l select=")
        return {
            "queue": request.queue,
            "account": request.account,
            "resource_spec": f"select=1:ncpus={request.cores}{gpus}:mem={memory}",
            "walltime": None if request.walltime_s is None else self.format_walltime(request.walltime_s),
            "job_extra_directives": [*lines, *request.directives],
            "job_directives_skip": skipped,
        }

    def prologue(self, request: JobRequest) -> list[str]:
        # PBS keeps output on the node until the job ends, and loses it with the node.
        log = shlex.quote(f"{request.log_folder}/{request.name}-")
        no_log = stop_line(f"no log can be written in {request.log_folder}")
        return [
            # The second is the variable of a Slurm behind its `qsub` for users of Torque.
            "number=${PBS_JOBID:-${SLURM_JOB_ID:-$$}}",
            f'exec >>{log}"${{number%%.*}}.log" 2>&1 || {no_log}',
        ]

    def format_walltime(self, seconds: int) -> str:
        return format_duration(seconds)

    def parse_walltime(self, text: str) -> int | None:
        """Return a limit that is printed in seconds or as `hh:mm:ss`, s.

        >>> Pbs().parse_walltime("3600"), Pbs().parse_walltime("01:00:00")
        (3600, 3600)
        """
        return int(text) if text.isdigit() else parse_duration(text)

    def queue_command(self, user: str) -> Command:
        return ("qstat", "-u", user)

    def parse_queue(self, text: str) -> dict[str, QueuedJob]:
        r"""Parse the table of `qstat` or `qstat -u`, one job a line.

        >>> table = "Job id  Name  User  Time Use S Queue\n----- ---- --- - ---\n7.head  cpu-0  me  00:01 R batch\n"
        >>> Pbs().parse_queue(table)
        {'7': QueuedJob(state='R', reason='')}
        """
        jobs = {}
        for line in text.splitlines():
            words = line.split()
            number = re.match(r"\d+", words[0]) if words else None
            # The state is the last word of one capital letter; names of jobs and users come before it.
            state = next((word for word in reversed(words[1:]) if re.fullmatch(r"[A-Z]", word)), None)
            if number and state and state not in _ENDED:
                jobs[number.group()] = QueuedJob(state)
        return jobs

    def is_job_number(self, text: str) -> bool:
        return re.match(r"\d+", text) is not None

    def state_command(self, number: str) -> Command:
        return ("qstat", number)

    def parse_state(self, number: str, code: int, out: str, err: str) -> JobState:
        """Return the state of one job from the answer of `qstat`.

        >>> Pbs().parse_state("7.head", 153, "", "qstat: Unknown Job Id 7.head")
        'ended'
        """
        if code != 0:
            is_known = re.search(r"unknown job|has finished|invalid job id", err, re.IGNORECASE) is None
            return "unknown" if is_known else "ended"
        digits = re.match(r"\d+", number)
        job = self.parse_queue(out).get(digits.group()) if digits else None
        if job is None or job.state in ("Q", "H", "W"):  # a job that was taken back into the queue does not run
            return "ended"
        return "suspended" if job.state in ("S", "U") else "running"

    def details_command(self, job_id: str) -> Command:
        return ()

    def parse_details(self, text: str) -> str:
        return ""

    def exceeded_walltime_s(self, details: str, log: str) -> int | None:
        found = _EXCEEDED.search(log)
        return self.parse_walltime(found["limit"]) if found else None

    def exclude_nodes(self, directives: Sequence[str], nodes: Sequence[str]) -> tuple[str, ...] | None:
        return None

    def exclude_command(self, job_id: str, directives: Sequence[str], nodes: Sequence[str]) -> Command:
        return ()

    def job_number(self, environment: Mapping[str, str]) -> str:
        return environment.get("PBS_JOBID", "")

    def node_name(self, environment: Mapping[str, str]) -> str:
        return ""

    def is_without_gpu(self, environment: Mapping[str, str]) -> bool:
        return False
