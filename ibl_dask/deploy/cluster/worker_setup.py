"""Setup of a worker process, which Dask runs there as a preload; and the departure of a worker that is unusable."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import importlib
import json
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.deploy.batch_systems.registry import excludable_node, node_name, own_job
from ibl_dask.deploy.cluster.refusals import TOPIC, Refusal

if TYPE_CHECKING:
    from distributed import Worker

from ibl_dask.model.cores import CORES_VARIABLE, GPU_CORES
from ibl_dask.model.gpu_energy import GPU_VARIABLE
from ibl_dask.model.step_modules import STEP_MODULES
from ibl_dask.store.output_log import redirect_output

_log = logging.getLogger(__name__)

_STATUS_EVERY_S = 0.05
"""Interval between two looks at the status of a starting worker, s."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_OPENCV_THREADS = "OPENCV_FOR_THREADS_NUM"
_PR_SET_PDEATHSIG = 1
"""Option of `prctl` (linux/prctl.h): the signal that this process receives when its parent ends."""
_AT_AN_END = ("failed during get data", "Failed to communicate with scheduler during heartbeat")
"""Beginnings of messages of Dask about a connection that the other side closed."""
DRIVER_VARIABLE = "IBL_DASK_DRIVER"
"""Variable of a worker that was forked from another process than its driver; see `become_like_driver`."""


async def dask_setup(worker: Worker) -> None:
    """Ignore Ctrl-C, set threads, claim a GPU, and import the modules of steps.

    A terminal sends Ctrl-C to every process of its foreground group; the driver stops its workers itself. Imports run
    in the background while the driver still plans.
    """
    become_like_driver()
    redirect_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("distributed.worker").addFilter(is_relevant)
    resources = worker.state.total_resources
    cores = int(resources.get(GPU_CORES, resources.get("CPU", 1)))
    os.environ.update(thread_settings(os.environ, cores))
    os.environ[CORES_VARIABLE] = str(cores)
    if "GPU" in resources:
        # Not imported by other workers, which start a little faster.
        from ibl_dask.deploy.cluster.gpu import format_broken, node_at_fault, take_gpu

        # The claim lasts as long as the worker, which lasts as long as the process.
        gpu, claim = await asyncio.to_thread(take_gpu, str(worker.name))
        worker.ibl_dask_claim = claim  # type: ignore[attr-defined]
        if gpu.problem:
            turn_away(worker, format_broken(gpu, str(worker.name)), gpu.problem, node_at_fault(gpu, os.environ))
            return
        os.environ[GPU_VARIABLE] = gpu.uuid
    threading.Thread(target=import_all, name="imports", daemon=True).start()


def become_like_driver() -> None:
    """Take over from the driver what a worker that was forked from another process does not inherit, and end with it.

    The variable holds a JSON object: `umask`, `unset`, the names of variables that the driver does not have, and
    `pipe`, a named pipe that the driver keeps open.
    """
    content = os.environ.pop(DRIVER_VARIABLE, "")
    if not content:
        return
    driver = json.loads(content)
    os.umask(driver["umask"])
    for name in driver["unset"]:
        os.environ.pop(name, None)
    if sys.platform == "linux":
        _end_with_parent()
        with contextlib.suppress(OSError):  # old temporary files may have been removed, and Dask watches as well
            _end_with(Path(driver["pipe"]))


def _end_with_parent() -> None:
    """Let the kernel end this process with the one it was forked from.

    Through that one its nanny watches it: without it, the nanny takes the worker for dead and starts another one, which
    would do the same steps.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with(pipe: Path) -> None:
    """Let the kernel end this process once nobody keeps a pipe open for writing.

    Dask's own watch over the driver is a thread, which waits for as long as code in C keeps the interpreter to itself:
    the step would run on beside that of the next driver.
    """
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # open until the process ends
    fcntl.fcntl(end, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(end, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_ASYNC)


def thread_settings(environment: Mapping[str, str], cores: int) -> dict[str, str]:
    """Return the variables that let libraries use as many threads as this worker has cores.

    NumPy is already loaded and has read the environment of the process; OpenCV, PyTorch and the processes that a step
    starts follow later.

    Parameters
    ----------
    environment
        Variables of the process; a setting of OpenMP in it takes precedence.
    cores
        Cores of the worker, used without such a setting.
    """
    n_threads = environment.get("OMP_NUM_THREADS") or str(cores)
    return {name: environment.get(name) or n_threads for name in (*_THREADS, _OPENCV_THREADS)}


def turn_away(worker: Worker, reason: str, problem: str, node: str) -> None:
    """Let a worker leave before it takes a step: it offers nothing, reports the reason, and ends with its nanny.

    A start that fails would end the other workers of the job as well, and Dask ignores errors in a preload.

    Parameters
    ----------
    worker
        The worker.
    reason
        Message with advice.
    problem
        The fault in short.
    node
        Name under which the node can be excluded; empty if it is not at fault.
    """
    worker.state.total_resources.clear()
    worker.state.available_resources.clear()
    _log.error("%s", reason)
    refusal = _refusal(worker, reason, problem)
    worker.loop.add_callback(_leave, worker, Refusal({**refusal, "node": node, "of": "gpu"}))


def leave(reason: str, problem: str, dask_worker: Worker | None = None) -> None:
    """Let a worker that has taken steps leave: it starts no other, reports the reason, and ends with its nanny.

    Parameters
    ----------
    reason
        Message with advice.
    problem
        The fault in short.
    dask_worker
        The worker, which Dask passes.
    """
    if dask_worker is None:
        return
    # The running step returns its resources when it ends; that must not start the next one.
    available = dask_worker.state.available_resources
    available.update(dict.fromkeys(available, -math.inf))
    _log.error("%s", reason)
    dask_worker.loop.add_callback(_leave, dask_worker, _refusal(dask_worker, reason, problem))


def _refusal(worker: Worker, reason: str, problem: str) -> Refusal:
    return Refusal(
        worker=str(worker.name),
        host=node_name(),
        job=own_job(),
        reason=reason,
        problem=problem,
        node=excludable_node(),
        of="node",
    )


async def _leave(worker: Worker, refusal: Refusal) -> None:
    while worker.status.name in ("init", "undefined"):
        await asyncio.sleep(_STATUS_EVERY_S)  # the nanny listens only once its worker runs
    await worker.scheduler.log_event(topic=TOPIC, msg=refusal)
    await worker.close_gracefully(restart=False, reason="ibl_dask-refused")


def is_relevant(record: logging.LogRecord) -> bool:
    """Return whether a log record of a worker is worth keeping.

    A worker that ends while another fetches a result from it is not, nor a scheduler that ends while a worker gives a
    sign of life: the other side reports the consequences.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, OSError) and str(record.msg).startswith(_AT_AN_END))


def import_all() -> None:
    """Import the modules of steps."""
    for name in STEP_MODULES:
        importlib.import_module(name)
