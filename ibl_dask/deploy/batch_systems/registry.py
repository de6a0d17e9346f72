"""Registry of batch systems by name, and questions that concern whichever of them is present."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping

from ibl_dask.deploy.batch_systems.commands import query_job
from ibl_dask.deploy.batch_systems.pbs import Pbs
from ibl_dask.deploy.batch_systems.protocol import BatchSystem
from ibl_dask.deploy.batch_systems.slurm import Slurm
from ibl_dask.store.holder import JobState

BATCH_SYSTEMS: Mapping[str, BatchSystem] = {system.name: system for system in (Slurm(), Pbs())}
"""Batch systems by the value of `scheduler` in a profile; where several could be meant, the first counts."""


def batch_system(name: str) -> BatchSystem:
    """Return the batch system of a pool.

    Raises
    ------
    KeyError
        For `local`, and for any other name that a profile would not be accepted with.
    """
    return BATCH_SYSTEMS[name]


def format_names(*before: str, last: str = "or") -> str:
    """Return the names of the batch systems as a list in prose.

    >>> format_names("local")
    'local, slurm or pbs'
    """
    names = [*before, *BATCH_SYSTEMS]
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def ask_job(number: str) -> JobState:
    """Return the state of a job of any user, from the batch system that its number belongs to.

    See `ibl_dask.store.holder.Evidence`.

    Parameters
    ----------
    number : str
        Number of the job, as `own_job` returns it inside the job.
    """
    for system in BATCH_SYSTEMS.values():
        if system.is_job_number(number) and shutil.which(system.state_command(number)[0]):
            return query_job(system, number)
    return "unknown"


def own_job(environment: Mapping[str, str] = os.environ) -> str:
    """Return the number of the batch job that a process runs in; empty outside of a job."""
    return next((number for system in BATCH_SYSTEMS.values() if (number := system.job_number(environment))), "")


def excludable_node(environment: Mapping[str, str] = os.environ) -> str:
    """Return the name of this node under which its batch system can exclude it; empty where there is none."""
    return next((name for system in BATCH_SYSTEMS.values() if (name := system.node_name(environment))), "")


def node_name() -> str:
    """Return the name of this node in its batch system, or else its host name."""
    return excludable_node() or socket.gethostname()


def exclusion_example(node: str = "NODE", scheduler: str | None = None) -> str:
    """Return the directives that exclude a node, as an example for advice: `, such as --exclude=NODE`.

    Parameters
    ----------
    node
        Name of the node.
    scheduler
        `scheduler` of the pool; by default every batch system.
    """
    systems = [system for system in BATCH_SYSTEMS.values() if scheduler in (None, system.name)]
    options = [system.exclude_option.format(node=node) for system in systems if system.exclude_option]
    return f", such as {' or '.join(options)}" if options else ""
