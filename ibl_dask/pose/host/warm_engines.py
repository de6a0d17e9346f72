"""Engines that stay loaded in their hosts between calls, and leave the GPU when nobody uses them.

A process has one host for each environment and device, which holds all networks of that environment. A host is started
by the first use of one of its engines, and again after it died.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from ibl_dask.pose.engine import Engine, EngineSettings
from ibl_dask.pose.host.frame_memory import shared_folders
from ibl_dask.pose.host.hosted_engine import Host, HostedEngine

IDLE_S = 30.0
"""Time after which a host that nobody uses is ended, s: longer than the pause between two chunks, and short enough that
the GPU is free while the CPU works on."""
LOOK_S = 1.0
"""Interval at which unused hosts are looked for, s."""


class WarmEngines:
    """Engines of this process in their hosts.

    Parameters
    ----------
    idle_s : float
        Time after which an unused host is ended, s.
    clock : callable
        Returns seconds.
    folders : sequence of Path, optional
        Folders for the memory of frames, the fastest first.
    weights_folder : Path, optional
        Folder for copies of weights on this node.
    """

    def __init__(
        self,
        *,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
        folders: Sequence[Path] | None = None,
        weights_folder: Path | None = None,
    ) -> None:
        self._idle_s, self._clock = idle_s, clock
        self._folders = shared_folders() if folders is None else tuple(folders)
        self._weights_folder = weights_folder
        self._hosts: dict[tuple[str, str], _Shared] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def open(self, settings: EngineSettings, device: str = "cpu") -> Iterator[Engine]:
        """Open an engine for the time of a block; it stays loaded for the next one.

        Parameters
        ----------
        settings : EngineSettings
            The engine.
        device : str
            `cpu`, `cuda` or `cuda:N`.

        Raises
        ------
        MissingEnvironment, WrongWeights, WrongKeypoints, GpuFailed, OutOfMemory, TaskTimedOut, EngineFailed
            If it cannot be loaded. `Engine.predict` raises the last four.
        """
        key = (settings.python, device)
        with self._lock:
            if key not in self._hosts:
                self._hosts[key] = _Shared(Host(settings.python, device, self._folders, self._weights_folder))
            shared = self._hosts[key]
            shared.n_users += 1
        try:
            yield HostedEngine(shared.host, settings)
        finally:
            with self._lock:
                shared.n_users -= 1
                shared.used_s = self._clock()

    def release(self) -> None:
        """End all hosts that nobody uses, at once: before work of the CPU that takes long."""
        self._release(lambda shared: True)

    def release_idle(self) -> None:
        """End the hosts that nobody has used for the idle time."""
        now_s = self._clock()
        self._release(lambda shared: now_s - shared.used_s >= self._idle_s)

    @property
    def processes(self) -> tuple[int, ...]:
        """Return the numbers of the host processes."""
        with self._lock:
            return tuple(pid for shared in self._hosts.values() if (pid := shared.host.pid) is not None)

    def _release(self, is_due: Callable[[_Shared], bool]) -> None:
        with self._lock:
            for shared in self._hosts.values():
                if not shared.n_users and shared.host.pid is not None and is_due(shared):
                    shared.host.end()


class _Shared:
    """A host with the number of its users."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.n_users = 0
        self.used_s = 0.0


@contextlib.contextmanager
def open_engine(settings: EngineSettings, device: str = "cpu") -> Iterator[Engine]:
    """Open an engine of this process; see `WarmEngines.open`. Its host is ended once it was unused for `IDLE_S`."""
    with _engines_of_process().open(settings, device) as engine:
        yield engine


def release_engines() -> None:
    """End the hosts of this process that nobody uses, at once."""
    _engines_of_process().release()


@cache
def _engines_of_process() -> WarmEngines:
    engines = WarmEngines(idle_s=IDLE_S)
    threading.Thread(target=_release_idle_ones, args=(engines,), daemon=True, name="pose-idle-hosts").start()
    atexit.register(engines.release)
    return engines


def _release_idle_ones(engines: WarmEngines) -> None:
    while True:
        time.sleep(LOOK_S)
        engines.release_idle()
