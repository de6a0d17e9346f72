"""An engine behind its host: batches, another try with fewer frames or a new process, and errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import EngineFailed, GpuFailed, IblDaskError, OutOfMemory, TaskTimedOut
from ibl_dask.model.step import fingerprint
from ibl_dask.pose.batches import batch_at, halved
from ibl_dask.pose.declaration import check_frames, check_result, read_declaration
from ibl_dask.pose.engine import EngineInfo, EngineSettings
from ibl_dask.pose.engines import adapter_file
from ibl_dask.pose.host.failures import crash_error
from ibl_dask.pose.host.process import HostDied, HostProcess
from ibl_dask.pose.host.weights import stage_weights

_log = logging.getLogger(__name__)
MOST_BATCH_BYTES = 256 << 20
"""Largest batch of frames, bytes, whatever the engine hints at."""
MOST_DEATHS = 2
"""Deaths of the host in one call from which on the call fails: the first may be an accident."""


class Host:
    """One environment on one device: its process while it runs, and what outlives the process.

    Parameters
    ----------
    python, device : str
        See `EngineSettings` and `WarmEngines.open`.
    folders : sequence of Path
        Folders for the memory of frames.
    weights_folder : Path, optional
        Folder for copies of weights.
    """

    def __init__(self, python: str, device: str, folders: Sequence[Path], weights_folder: Path | None) -> None:
        self.python, self.device = python, device
        self._folders, self._weights_folder = folders, weights_folder
        self._process: HostProcess | None = None
        self._loaded: dict[str, EngineInfo] = {}
        self._lock = threading.RLock()
        self.batches: dict[str, int] = {}
        """Engine -> largest batch that fitted into memory, where one did not."""
        self._hints: dict[str, int] = {}

    @property
    def pid(self) -> int | None:
        """Return the number of the process; None if there is none."""
        process = self._process
        return None if process is None else process.pid

    def end(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is not None:
                self._process.end()
                self._log_printed()
            self._process = None
            self._loaded.clear()

    def load(self, key: str, settings: EngineSettings) -> EngineInfo:
        """Load an engine, unless it is, in a process that runs; return its declaration.

        Raises
        ------
        IblDaskError
            If it cannot be loaded.
        """
        with self._lock:
            return self._loaded_in(key, settings)[1]

    def predict(
        self, key: str, settings: EngineSettings, frames: NDArray[np.uint8], before: int, after: int
    ) -> NDArray[np.float32]:
        """Predict one batch; see `Engine.predict`.

        Raises
        ------
        HostDied, IblDaskError
            If the process died, or answered with an error.
        """
        with self._lock:
            process, _ = self._loaded_in(key, settings)
            try:
                found = process.predict(key, frames, before, after, timeout_s=settings.batch_s, where=_where(settings))
            except (GpuFailed, OutOfMemory, TaskTimedOut):
                self.end()  # a GPU that failed fails again in this process, and memory is returned at its end
                raise
            finally:
                self._log_printed()
        return found

    def death_error(self, died: HostDied, settings: EngineSettings) -> IblDaskError:
        """Return the error for a death of the process, and forget that."""
        with self._lock:
            tail = "" if self._process is None else self._process.tail
            self.end()
        return crash_error(died.code, _where(settings), tail)

    def _loaded_in(self, key: str, settings: EngineSettings) -> tuple[HostProcess, EngineInfo]:
        if self._process is not None and not self._process.is_alive:
            self.end()
        process = self._process
        if process is not None and key in self._loaded:
            return process, self._loaded[key]
        weights = stage_weights(settings, self._weights_folder)
        options = dict(settings.options)
        if key in self.batches:
            options["batch"] = self.batches[key]  # an adapter may fill batches up to it
        if process is None:
            process = HostProcess(self.python, start_s=settings.start_s, folders=self._folders)
            self._process = process
        request = {
            "do": "load",
            "engine": key,
            "adapter": str(adapter_file(settings.kind)),
            "weights": None if weights is None else str(weights),
            "options": options,
            "keypoints": list(settings.keypoints),
            "device": self.device,
        }
        try:
            answer, _ = process.ask(request, timeout_s=settings.start_s, where=_where(settings))
        except (GpuFailed, OutOfMemory, TaskTimedOut):
            self.end()
            raise
        except HostDied as died:
            raise self.death_error(died, settings) from died
        finally:
            self._log_printed()
        info = read_declaration(answer.get("info"), settings)
        info = replace(info, batch_hint=self._hints.setdefault(key, info.batch_hint))
        self._loaded[key] = info
        _log.info(
            "engine %s (%s) on %s in process %d of Python %s, numpy %s",
            *(settings.name, info.build, self.device, process.pid, process.python, process.numpy),
        )
        return process, info

    def _log_printed(self) -> None:
        """Write what the process printed into the log of the step that runs in this thread."""
        for line in [] if self._process is None else self._process.take_lines():
            _log.info("[engine] %s", line)


class HostedEngine:
    """An engine of a host; see `Engine`.

    Parameters
    ----------
    host : Host
        Host of its environment and device.
    settings : EngineSettings
        The engine.

    Raises
    ------
    IblDaskError
        If it cannot be loaded.
    """

    def __init__(self, host: Host, settings: EngineSettings) -> None:
        self._host, self._settings = host, settings
        self._key = fingerprint("engine", 1, settings=settings.identity())
        self.info = host.load(self._key, settings)

    def predict(self, frames: NDArray[np.uint8], before: int = 0, after: int = 0) -> NDArray[np.float32]:
        """Predict the keypoints of consecutive frames; see `Engine.predict`.

        A batch that does not fit into memory is halved, and the smaller size kept for this engine and device. If the
        process dies the batch is given to a new one, with half as many frames.

        Raises
        ------
        OutOfMemory, GpuFailed, TaskTimedOut, EngineCrashed, EngineFailed
            If that does not help.
        """
        n_rows = check_frames(frames, before, after, self.info)
        found = np.empty((n_rows, len(self.info.keypoints), 3), np.float32)
        row, n_deaths, once = 0, 0, None
        while row < n_rows:
            size = once or self._batch_size(frames)
            batch = batch_at(row, size, len(frames), before, after, self.info.halo)
            given = frames[batch.start : batch.stop]
            self._require_same()
            try:
                part = self._host.predict(self._key, self._settings, given, batch.before, batch.after)
            except OutOfMemory as error:
                once = None
                self._halve(batch.n_rows, error)
                continue
            except HostDied as died:
                n_deaths += 1
                failure = self._host.death_error(died, self._settings)
                if n_deaths == MOST_DEATHS:
                    raise failure from died
                _log.warning("%s (exit code %s): another try with half as many frames", failure.what, died.code)
                once = halved(batch.n_rows) or 1
                continue
            found[row : row + batch.n_rows] = check_result(part, batch.n_rows, self.info, _where(self._settings))
            row, once = row + batch.n_rows, None
        return found

    def _require_same(self) -> None:
        """Load the engine if its process is new; raise `EngineFailed` if the rows would be those of another one."""
        again = self._host.load(self._key, self._settings)
        if again != self.info:
            raise EngineFailed(
                "the engine is another one after its process was started again",
                where=_where(self._settings),
                expected=str(self.info),
                got=str(again),
                do="run again: the chunk is then computed by one build from its start",
            )

    def _batch_size(self, frames: NDArray[np.uint8]) -> int:
        largest = max(1, MOST_BATCH_BYTES // int(frames[0].nbytes))
        return min(self._host.batches.get(self._key, self.info.batch_hint), largest)

    def _halve(self, n_rows: int, error: OutOfMemory) -> None:
        """Keep half the size of a batch that did not fit."""
        smaller = halved(n_rows)
        if smaller is None:
            error.add_note("It was a batch of one frame: there is no smaller one.")
            raise error
        _log.warning("%s: batches of %d frames instead of %d from now on", error.what, smaller, n_rows)
        self._host.batches[self._key] = smaller


def _where(settings: EngineSettings) -> str:
    """Return the engine for messages: its name, and its network or environment."""
    place = settings.weights or settings.python
    return f"engine {settings.name}{f' ({place})' if place else ''}"
