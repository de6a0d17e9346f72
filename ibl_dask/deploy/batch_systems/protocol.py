"""Protocol of a batch system: everything that differs between Slurm, PBS and others.

An implementation is one module with one class, listed in `registry.py`. Its methods build commands and options and
parse answers; they run nothing and read nothing, so that each is tested with values. `commands.py` runs the commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ibl_dask.store.holder import JobState

Command = tuple[str, ...]
"""A program and its arguments; empty where the batch system has no such command."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job in the queue of a batch system."""

    state: str
    """State in the batch system's own vocabulary: `PENDING`, `RUNNING`, `Q`, `R`."""
    reason: str = ""
    """Reason of that state; empty where the batch system gives none."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """Resources, placement and log of one job, independent of the batch system."""

    name: str
    """Name of the job and prefix of its log file."""
    log_folder: Path
    """Folder of log files, seen by the nodes."""
    cores: int = 1
    """Cores of the job."""
    memory_gb: float = 2.0
    """Memory of the job, GB (1e9 bytes)."""
    gpus: int = 0
    """GPUs of the job."""
    walltime_s: int | None = None
    """Time limit, s; None for the queue's own."""
    queue: str | None = None
    """Queue or partition; None for the site's default."""
    account: str | None = None
    """Account that the job is charged to."""
    directives: tuple[str, ...] = ()
    """Further options in the batch system's own syntax."""
    group: str | None = None
    """Group that the job runs in; None for the user's own."""
    group_line: str = ""
    """Place of that setting, for the message of a job whose user is not a member."""


class BatchJob(Protocol):
    """The part of a `dask_jobqueue` job that is used."""

    job_id: str | None
    """Number of the job; None before submission."""
    submit_command: str
    cancel_command: str

    def job_script(self) -> str:
        """Return the script."""

    async def start(self) -> None:
        """Submit the job."""

    async def close(self) -> None:
        """Cancel the job."""


class BatchSystem(Protocol):
    """A batch system: constants, commands and parsers, without any I/O."""

    name: str
    """Value of `scheduler` in a profile."""
    commands: tuple[str, ...]
    """Programs that the driver runs: submission, queue, cancellation."""
    list_queues: str
    """Command that lists queues, for advice."""
    list_accounts: str
    """Command that lists accounts, for advice; empty where there is none."""
    directive_prefix: str
    """Word after `#` that marks a directive in a script: `SBATCH`."""
    profile_keys: tuple[tuple[str, str], ...]
    """Regular expression of a directive -> key of the profile that writes it. Given twice, one of the two would be
    ignored, or the batch system would refuse the job."""
    array_directive: str
    """Regular expression of directives that make several jobs of one script, whose workers would share a name."""
    placement_directive: str
    """Regular expression of directives that select nodes with GPUs without naming a queue."""
    refusal_patterns: tuple[tuple[str, str], ...]
    """Regular expression of a refusal -> key of a pool to correct; the first match counts."""
    exclude_option: str
    """Directive that excludes a node, with `{node}` in place of its name; empty where there is none."""
    running_states: frozenset[str]
    """States of jobs whose workers should be connected."""
    requeued_states: frozenset[str]
    """States of jobs that ran and wait again; empty where such a job cannot be told from one that never ran."""
    ending_states: frozenset[str]
    """States of jobs that are about to leave the queue."""
    unsatisfiable_reasons: frozenset[str]
    """Reasons of waiting jobs that will never start."""
    jobqueue_settings: tuple[str, ...]
    """Settings that the job class of `dask_jobqueue` reads beyond the common ones."""

    def job_class(self) -> Callable[..., BatchJob]:
        """Return the job class of `dask_jobqueue`; imports it."""

    def job_options(self, request: JobRequest) -> dict[str, object]:
        """Return the arguments of the job class that depend on the batch system."""

    def prologue(self, request: JobRequest) -> list[str]:
        """Return shell lines that open the log and set the group, as far as no directive does."""

    def format_walltime(self, seconds: int) -> str:
        """Return a time limit in the syntax of a job script."""

    def parse_walltime(self, text: str) -> int | None:
        """Return a time limit as the batch system prints it, s; None for anything else, such as `UNLIMITED`."""

    def queue_command(self, user: str) -> Command:
        """Return the command that lists the jobs of a user."""

    def parse_queue(self, text: str) -> dict[str, QueuedJob]:
        """Return the jobs in that list that have not ended, by number."""

    def is_job_number(self, text: str) -> bool:
        """Return whether a text has the form of a job number of this batch system, as found in `job_number`."""

    def state_command(self, number: str) -> Command:
        """Return the command that asks for the state of one job of any user."""

    def parse_state(self, number: str, code: int, out: str, err: str) -> JobState:
        """Return the state of one job from exit code, output and errors of that command.

        A job that was taken back into the queue counts as ended: its process is gone.

        Parameters
        ----------
        number
            Number of the job.
        code, out, err
            Exit code, standard output and standard error of `state_command`.
        """

    def details_command(self, job_id: str) -> Command:
        """Return the command that describes a job which has ended; empty where only accounting knows."""

    def parse_details(self, text: str) -> str:
        """Return state, reason and exit code from that description, in one line."""

    def exceeded_walltime_s(self, details: str, log: str) -> int | None:
        """Return the time limit that ended a job, s; None where something else ended it.

        Parameters
        ----------
        details
            Output of `details_command`; empty where there is none.
        log
            End of the job's log.
        """

    def exclude_nodes(self, directives: Sequence[str], nodes: Sequence[str]) -> tuple[str, ...] | None:
        """Return the directives of a pool with further nodes excluded; None where that cannot be expressed."""

    def exclude_command(self, job_id: str, directives: Sequence[str], nodes: Sequence[str]) -> Command:
        """Return the command that keeps a waiting job from nodes, and from those that its directives exclude.

        Parameters
        ----------
        job_id
            Number of the job.
        directives
            Directives of its pool.
        nodes
            Names of further nodes to exclude.
        """

    def job_number(self, environment: Mapping[str, str]) -> str:
        """Return the number of the job that a process runs in; empty outside of a job."""

    def node_name(self, environment: Mapping[str, str]) -> str:
        """Return the name of this node under which it can be excluded; empty where that is unknown."""

    def is_without_gpu(self, environment: Mapping[str, str]) -> bool:
        """Return whether the environment of a job shows that it was given no GPU."""
