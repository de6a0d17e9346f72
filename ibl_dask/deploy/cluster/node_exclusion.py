"""Nodes that a pool excludes, since a worker found its GPU broken there, or did not see the data.

Without that, the next job would start on the same node: a node whose jobs end at once is the first to be free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ibl_dask.deploy.batch_systems.registry import batch_system
from ibl_dask.deploy.cluster.refusals import Refusal
from ibl_dask.deploy.site.profile import Pool


def unusable_nodes(pool: Pool, refusals: Iterable[Refusal]) -> dict[str, str]:
    """Return the nodes that a pool cannot use, with the problem of each.

    These are nodes where a worker of the pool found its GPU broken, or a worker of any pool did not see the data.

    Parameters
    ----------
    pool
        A pool; its workers are called `{pool}-{number}`, `{pool}-{number}-{i}`.
    refusals
        Refusals of workers.
    """
    return {
        refusal["node"]: f"a GPU does not work: {refusal['problem']}" if refusal["of"] == "gpu" else refusal["problem"]
        for refusal in refusals
        if refusal["node"] and (refusal["of"] == "node" or refusal["worker"].partition("-")[0] == pool.name)
    }


def can_exclude(pool: Pool, nodes: Iterable[str]) -> bool:
    """Return whether there are nodes to exclude, and the batch system of a pool has an option for it."""
    return batch_system(pool.scheduler).exclude_nodes(pool.directives, list(nodes)) is not None


def exclude_nodes(pool: Pool, nodes: Iterable[str]) -> Pool:
    """Return a pool whose jobs start neither on some nodes nor on those that it excludes itself.

    Parameters
    ----------
    pool
        A pool, which is returned unchanged where its batch system cannot exclude nodes.
    nodes
        Names of nodes in the batch system.

    >>> exclude_nodes(Pool(scheduler="slurm", directives=("--exclude=n[1-2]",)), ["n7"]).directives
    ('--exclude=n[1-2],n7',)
    """
    directives = batch_system(pool.scheduler).exclude_nodes(pool.directives, list(nodes))
    return pool if directives is None else replace(pool, directives=directives)


def format_excluded(nodes: Mapping[str, str]) -> str:
    """Return the excluded nodes and their problems as the end of a message; empty without any."""
    return "".join(f"; left out is {node}: {problem}" for node, problem in nodes.items())
