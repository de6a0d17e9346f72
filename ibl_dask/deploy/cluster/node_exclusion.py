"""Nodes that a pool leaves out: a worker found there that its GPU does not work, or did not see the data.

Without that, the next job would land there again: nothing is as free as a node whose jobs end at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ibl_dask.deploy.site.profile import Pool

_EXCLUDES = re.compile(r"(?:--exclude(?:=|\s+)|-x\s*)(?P<nodes>\S+)")


def broken_nodes(pool: Pool, refusals: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the nodes that are of no use to a pool, and what is wrong there.

    That is where a worker of the pool found its GPU broken, or one of any pool did not see the data.

    Parameters
    ----------
    pool
        A pool; its workers are called `{pool}-{number}`, and so on.
    refusals
        What workers said that left; see `deploy.worker.refusals`.
    """
    return {
        said["node"]: f"a GPU does not work: {said['problem']}" if said["of"] == "gpu" else said["problem"]
        for said in refusals
        if said["node"] and (said["of"] == "node" or said["worker"].partition("-")[0] == pool.name)
    }


def leaving_out(pool: Pool, nodes: Iterable[str]) -> Pool:
    """Return a pool whose jobs start on none of some nodes, nor on those that it leaves out itself.

    Parameters
    ----------
    pool
        A pool. Only Slurm can be told to leave nodes out; a pool of PBS stays as it is, and so does one that names a
        file of nodes, to which none can be added.
    nodes
        Names of nodes, as Slurm calls them.

    >>> leaving_out(Pool(scheduler="slurm", directives=("--exclude=n[1-2]",)), ["n7"]).directives
    ('--exclude=n[1-2],n7',)
    """
    names = excluded(pool, nodes)
    if not names:
        return pool
    others = [line for line in pool.directives if not _EXCLUDES.fullmatch(line)]
    return replace(pool, directives=(*others, f"--exclude={names}"))


def excluded(pool: Pool, nodes: Iterable[str]) -> str:
    """Return some nodes and those that a pool leaves out itself, as Slurm lists them; empty where it cannot be told."""
    # Of several lines Slurm takes the last.
    own = [found["nodes"].strip("\"'") for line in pool.directives if (found := _EXCLUDES.fullmatch(line))][-1:]
    names = list(nodes)
    if pool.scheduler != "slurm" or not names or any("/" in name for name in own):
        return ""
    return ",".join([*own, *names])


def say_left_out(nodes: Mapping[str, str]) -> str:
    """Return which nodes were left out and why, to be added to a message; empty where none was."""
    return "".join(f"; left out is {node}: {problem}" for node, problem in nodes.items())
