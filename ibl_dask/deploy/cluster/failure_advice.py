"""Messages for steps that no pool can run: the line of the profile, the refusal, and the correction."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ibl_dask.deploy.batch_systems.registry import batch_system
from ibl_dask.deploy.cluster.scaling import Health
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.errors import RunError

_OWN_MESSAGES = (
    # Of the job's script, which repeats words of others.
    (r"the setup failed", "setup", ""),
    (r"no such program on this node", "python", ""),
    # Of a worker that left, or of a refusal for lack of nodes after unusable ones were excluded.
    (r"is not seen there", "queue", "a queue whose nodes see sessions, results and work folder"),
    (r"left out is", "queue", "a queue with nodes whose GPUs work (`ibl-dask doctor` tries one)"),
)
_SHELL_MESSAGES = (
    (r"no such file or directory|not found|no module named|cannot execute|permission denied", "python", ""),
    (r"exit ?code|exitcode|failed", "setup", ""),
)


def given_up(profile: Profile, pool: Pool, health: Health) -> RunError:
    """Return the error of a pool whose jobs failed `MOST_FAILURES` times in a row.

    Parameters
    ----------
    profile, pool
        The site, and its pool.
    health
        Failures of the pool's jobs.
    """
    key, value = _blamed_key(pool, health.reason)
    return RunError(
        f"the jobs of pool {pool.name} do not start",
        where=profile.line("pools", pool.name, *([key] if key else [])),
        expected=f"jobs that {pool.scheduler} takes, and whose workers reach the scheduler",
        got=f"{health.failures} failures one after another, the last one: {health.reason}",
        do=(f"give `{key}` {value}" if key else "mend the pool")
        + ", look at `ibl-dask jobscript` and `ibl-dask doctor`, then run again: finished chunks are kept",
    )


def _blamed_key(pool: Pool, reason: str) -> tuple[str, str]:
    """Return the key of a pool that a failure is about, and a description of a good value; empty where unknown."""
    # Paths are no evidence: a log may lie in a folder called gpu.
    words = re.sub(r"\S*/\S*", "", reason)
    of_system = ((pattern, key, "") for pattern, key in batch_system(pool.scheduler).refusal_patterns)
    for pattern, key, value in (*_OWN_MESSAGES, *of_system, *_SHELL_MESSAGES):
        if re.search(pattern, words, re.IGNORECASE):
            return key, value or _good_value(pool, key)
    return "", ""


def _good_value(pool: Pool, key: str) -> str:
    """Return a description of the values that a key of a pool may have, with the command that lists them."""
    system = batch_system(pool.scheduler)
    accounts = f" (`{system.list_accounts}`)" if system.list_accounts else ""
    return {
        "setup": "lines that run on the node without an error",
        "python": "a Python on the node that has ibl_dask, by its full path, or `setup` lines that make one available",
        "queue": f"a queue that this site has (`{system.list_queues}`)",
        "account": f"an account that may use this queue{accounts}",
        "gpus": "a number of GPUs that one node has, and a queue whose nodes have them",
        "walltime": "a time that the queue allows",
        "memory": "memory that one node has",
        "cores": "cores, memory and GPUs that one node has",
    }[key]


def unschedulable(profile: Profile, asked: Mapping[str, float]) -> RunError:
    """Return the error of a step that asks for more than a worker of any pool has.

    Parameters
    ----------
    profile
        The site.
    asked
        Amount of each resource, as `Resources.for_dask` gives it.
    """
    lacking = "; ".join(f"pool {pool.name} lacks {pool.lacks(asked)}" for pool in profile.pools if pool.max_jobs)
    return RunError(
        "no pool can run this step",
        where=profile.line("pools"),
        expected=" and ".join(f"{name}: {amount:g}" for name, amount in asked.items()) + " in one worker",
        got=lacking or "no pool with jobs",
        do="add a pool that has it, or give one more `memory`, `cores` or `gpus`; then run again",
    )
