"""What a worker process does when it starts; Dask loads this module there."""

from __future__ import annotations

import asyncio
import importlib
import logging
import math
import os
import signal
import threading
from collections.abc import Mapping
from typing import Any

from ibl_dask.model.step_modules import STEP_MODULES

_log = logging.getLogger(__name__)

REFUSALS = "ibl_dask-refusals"
"""Topic of Dask events under which a worker says why it leaves instead of taking steps."""
_TOLD_EVERY_S = 0.05
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_OPENCV_THREADS = "OPENCV_FOR_THREADS_NUM"


async def dask_setup(worker: Any) -> None:  # distributed has no types
    """Leave Ctrl-C to the driver, see to threads and the GPU, and import what steps need.

    A terminal sends Ctrl-C to every process of its foreground group; the driver stops its workers itself. Imports go
    on in the background while the driver still plans.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("distributed.worker").addFilter(is_news)
    resources = worker.state.total_resources
    os.environ.update(thread_settings(os.environ, int(resources.get("CPU", 1))))
    if "GPU" in resources:
        # Other workers start a little faster without.
        from ibl_dask.deploy.cluster.gpu import node_at_fault, say_broken, take_gpu

        # The claim lasts as long as the worker, which lasts as long as the process.
        gpu, worker.ibl_dask_claim = await asyncio.to_thread(take_gpu, str(worker.name))
        if gpu.problem:
            turn_away(worker, say_broken(gpu, str(worker.name)), gpu.problem, node_at_fault(gpu, os.environ))
            return
    threading.Thread(target=import_all, name="imports", daemon=True).start()


def thread_settings(environment: Mapping[str, str], cores: int) -> dict[str, str]:
    """Return the variables that let libraries use as many threads as this worker has cores.

    NumPy is there already and went by the environment that the process was started with; OpenCV, PyTorch and the
    processes that a step starts come later.

    Parameters
    ----------
    environment
        Of the process; what it says about OpenMP counts.
    cores
        Cores of the worker, where the environment does not say.
    """
    n_threads = environment.get("OMP_NUM_THREADS") or str(cores)
    return {name: environment.get(name) or n_threads for name in (*_THREADS, _OPENCV_THREADS)}


def turn_away(worker: Any, reason: str, problem: str, node: str) -> None:  # distributed has no types
    """Let a worker leave before it takes a step: it offers nothing, says why, and ends together with its nanny.

    A start that fails would end the other workers of the job too, and Dask passes over what goes wrong here.
    """
    worker.state.total_resources.clear()
    worker.state.available_resources.clear()
    _log.error("%s", reason)
    worker.loop.add_callback(_leave, worker, {"reason": reason, "problem": problem, "node": node, "of": "gpu"})


def leave(reason: str, problem: str, dask_worker: Any = None) -> None:  # distributed has no types
    """Let a worker that has taken steps leave: it starts no other, says why, and ends together with its nanny.

    Parameters
    ----------
    reason
        Why, for people, with what to do.
    problem
        What is wrong, in short.
    dask_worker
        The worker; Dask fills it in.
    """
    # What runs now gives back what it occupies; that must not let the next one start.
    available = dask_worker.state.available_resources
    available.update(dict.fromkeys(available, -math.inf))
    _log.error("%s", reason)
    told = {"reason": reason, "problem": problem, "node": os.environ.get("SLURMD_NODENAME", ""), "of": "node"}
    dask_worker.loop.add_callback(_leave, dask_worker, told)


async def _leave(worker: Any, told: dict[str, str]) -> None:  # distributed has no types
    while worker.status.name in ("init", "undefined"):
        await asyncio.sleep(_TOLD_EVERY_S)  # the nanny listens only once its worker runs
    from ibl_dask.deploy.cluster.gpu import node_name

    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("PBS_JOBID") or ""
    message = {"worker": str(worker.name), "host": node_name(), "job": job, **told}
    await worker.scheduler.log_event(topic=REFUSALS, msg=message)
    await worker.close_gracefully(restart=False, reason="ibl_dask-refused")


def refusals(client: Any) -> list[dict[str, str]]:  # distributed has no types
    """Return which workers left instead of taking steps, oldest first.

    Returns
    -------
    list of dict
        `worker` (its name), `host`, `job` (number; empty where there is none), `reason` (for people, with what to do),
        `problem` (what is wrong, in short), `node` (the node to leave out, as Slurm calls it; empty where none is), and
        `of` (what is at fault: `gpu`, or `node`, which no pool can use then).
    """
    return [message for _, message in client.get_events(REFUSALS)]


def is_news(record: logging.LogRecord) -> bool:
    """Return whether what a worker logs is worth telling.

    Another worker that ends while it fetches a result is not: the scheduler knows, and says what comes of it.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, OSError) and str(record.msg).startswith("failed during get data"))


def import_all() -> None:
    """Import the modules that steps need."""
    for name in STEP_MODULES:
        importlib.import_module(name)
