"""What to tell people whose steps no pool can run: which line of the profile, what was said, and what to write."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ibl_dask.deploy.cluster.scaling import Health
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.errors import RunError

_PYTHON = "a Python on the node that has ibl_dask, by its full path, or `setup` lines that make one available"
_SETUP = "lines that run on the node without an error"
_BLAMED = (
    # What our own script of a job says, first: it knows, and repeats words of others.
    (r"the setup failed", "setup", _SETUP),
    (r"no such program on this node", "python", _PYTHON),
    # What a worker said that left, or a refusal for lack of nodes, after those that are of no use were left out.
    (r"is not seen there", "queue", "a queue whose nodes see sessions, results and work folder"),
    (r"left out is", "queue", "a queue with nodes whose GPUs work (`ibl-dask doctor` tries one)"),
    (r"partition|queue", "queue", "a queue that this site has (`sinfo`, `qstat -Q`)"),
    (r"account|association|project", "account", "an account that may use this queue (`sacctmgr show assoc`)"),
    (r"gres|gpu|generic", "gpus", "a number of GPUs that one node has, and a queue whose nodes have them"),
    (r"time ?limit|walltime", "walltime", "a time that the queue allows"),
    (r"memory|mem ", "memory", "memory that one node has"),
    (r"node configuration|more processors|cpu count", "cores", "cores, memory and GPUs that one node has"),
    (r"no such file or directory|not found|no module named|cannot execute|permission denied", "python", _PYTHON),
    (r"exit ?code|exitcode|failed", "setup", _SETUP),
)
"""What a batch system or a log says, the key of a pool that it is about, and what that key should hold."""


def given_up(profile: Profile, pool: Pool, health: Health) -> RunError:
    """Return the error of a pool whose jobs failed again and again."""
    key, wanted = _blame(health.said)
    return RunError(
        f"the jobs of pool {pool.name} do not start",
        where=profile.line("pools", pool.name, *([key] if key else [])),
        expected=f"jobs that {pool.scheduler} takes, and whose workers reach the scheduler",
        got=f"{health.failures} failures one after another, the last one: {health.said}",
        do=(f"give `{key}` {wanted}" if key else "mend the pool")
        + ", look at `ibl-dask jobscript` and `ibl-dask doctor`, then run again: finished chunks are kept",
    )


def _blame(said: str) -> tuple[str, str]:
    """Return the key of a pool that a message is about, and what it should hold; both empty where that is not clear."""
    # Paths say nothing: a log may lie in a folder called gpu.
    words = re.sub(r"\S*/\S*", "", said)
    for pattern, key, wanted in _BLAMED:
        if re.search(pattern, words, re.IGNORECASE):
            return key, wanted
    return "", ""


def nobody_can(profile: Profile, asked: Mapping[str, float]) -> RunError:
    """Return the error of a step that no pool of a site can run."""
    lacking = "; ".join(f"pool {pool.name} lacks {pool.lacks(asked)}" for pool in profile.pools if pool.max_jobs)
    return RunError(
        "no pool can run this step",
        where=profile.line("pools"),
        expected=" and ".join(f"{name}: {amount:g}" for name, amount in asked.items()) + " in one worker",
        got=lacking or "no pool with jobs",
        do="add a pool that has it, or give one more `memory`, `cores` or `gpus`; then run again",
    )
