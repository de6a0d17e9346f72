"""Workers on this machine."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.deploy.cluster.worker_setup import DRIVER_VARIABLE
from ibl_dask.deploy.site.profile import Profile
from ibl_dask.errors import RunError
from ibl_dask.model.step_modules import STEP_MODULES

if TYPE_CHECKING:
    from distributed import LocalCluster, Security

_log = logging.getLogger(__name__)

START_ATTEMPTS = 3
"""Number of attempts to start the workers."""
REPLACED_AFTER_S = 2.0
"""Interval between two counts of the workers, s."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
"""Variables that set the number of threads of libraries."""
_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=67108864"}
"""Frames on huge pages: a decoder walks over several 2 MB frames at a time, and with pages of 4 kB it waits for the
address translation. 4 and 13 % faster on two films of 1280x1024, where the kernel allows it (`transparent_hugepage`
madvise or always); no effect elsewhere. Read once, when a process starts."""

WORKER_ENVIRONMENT = {**ONE_THREAD, **_HUGE_PAGES, "MALLOC_TRIM_THRESHOLD_": "134217728"}
"""Environment of every worker process."""

FORKED = {"distributed.worker.multiprocessing-method": "forkserver"}
"""Workers are forked from a process that has imported all modules, once: without, each one imports them for 2 s."""
_PRELOADED = ["distributed", "distributed.nanny", "ibl_dask.deploy.cluster.worker_setup", *STEP_MODULES]
"""Modules of that process."""
_ever_set: set[str] = set()
"""Names of the variables that it may have, and its workers inherit."""

RARE_POLLING = {
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.worker.profile.interval": "100ms",
}
"""Intervals of Dask's own bookkeeping. Its defaults of 20 to 500 ms suit tasks of milliseconds; with two idle workers
they take 11 % of a core, and these 3 %. Tasks here take seconds."""


@contextlib.contextmanager
def _workers_replaced(cluster: LocalCluster, n_workers: int) -> Iterator[None]:
    """Replace workers that are gone for good: one that dies while it starts takes its nanny with it.

    Without that, a step that kills every worker it meets could leave a run waiting for workers that never come.
    """
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(REPLACED_AFTER_S):
            # Without effect while each worker has a nanny, which restarts it; Dask drops the others after a while.
            cluster.scale(n_workers)

    watcher = threading.Thread(target=watch, name="worker-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


@contextlib.contextmanager
def _environment_kept(names: Iterable[str]) -> Iterator[None]:
    """Restore the environment of this process, in which Dask sets the variables of its workers."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _worker_environment() -> Iterator[dict[str, str]]:
    """Yield the variables that make workers like this process, and let them end when the block or the process does."""
    from distributed.utils import get_mp_context

    get_mp_context().set_forkserver_preload(_PRELOADED)
    present = dict(os.environ)
    _ever_set.update(present)
    umask = os.umask(0)
    os.umask(umask)
    with tempfile.TemporaryDirectory(prefix="ibl_dask-") as folder:
        pipe = Path(folder) / "driver"
        os.mkfifo(pipe, 0o600)
        end = os.open(pipe, os.O_RDWR)
        try:
            driver = {"umask": umask, "unset": sorted(_ever_set - present.keys()), "pipe": str(pipe)}
            yield {**present, DRIVER_VARIABLE: json.dumps(driver)}
        finally:
            os.close(end)


@contextlib.contextmanager
def local_workers(profile: Profile, security: Security | None = None) -> Iterator[LocalCluster]:
    """Start the workers of a profile on this machine, and yield their `LocalCluster`.

    Parameters
    ----------
    profile : Profile
        The site, of one pool.
    security : distributed.Security, optional
        Certificates; no encryption by default.

    Raises
    ------
    RunError
        If the workers do not start within `START_ATTEMPTS` attempts.
    """
    import dask

    with (
        # For the whole time, since workers may be restarted later.
        _environment_kept([*WORKER_ENVIRONMENT, "PYTHONHASHSEED"]),
        dask.config.set({"distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT, **FORKED}),
        contextlib.ExitStack() as stack,
    ):
        environment = stack.enter_context(_worker_environment())
        with warnings.catch_warnings():
            # Another dashboard on this machine is no problem: a free port is taken.
            warnings.filterwarnings("ignore", "Port .* is already in use", category=UserWarning)
            cluster = _start(profile, security, environment)
        with cluster, _workers_replaced(cluster, profile.most_workers):
            yield cluster


def _start(profile: Profile, security: Security | None, environment: Mapping[str, str]) -> LocalCluster:
    """Start the workers; one that dies meanwhile ends the whole attempt, so there are several."""
    from distributed import LocalCluster

    (pool,) = profile.pools
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return LocalCluster(
                n_workers=pool.max_jobs,
                threads_per_worker=1,
                processes=True,
                resources=pool.worker_resources,
                memory_limit=f"{pool.worker_memory_gb}GB",
                # Not open to other machines.
                dashboard_address=f"127.0.0.1:{profile.dashboard_port}",
                security=security,
                silence_logs=logging.ERROR,
                env=dict(environment),
                preload=["ibl_dask.deploy.cluster.worker_setup"],
            )
        except RuntimeError as error:
            _log.info("workers did not start (attempt %d): %s", attempt, error)
            last = error
    raise RunError(
        "the workers could not be started",
        where=f"this machine, profile {profile.name}",
        expected=f"{pool.max_jobs} processes of up to {pool.worker_memory_gb:g} GB",
        got=f"{START_ATTEMPTS} attempts that ended with: {last}",
        do="look for a lack of memory or processes on this machine; fewer --workers, or --workers 0 for none. "
        'In a script, call what starts workers under `if __name__ == "__main__":` alone',
    ) from last
