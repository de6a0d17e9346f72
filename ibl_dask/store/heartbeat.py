"""Sign of life of a run's driver, and the state of the run that follows from it.

A thread of the driver renews a small file in the folder of the run. A reader on the driver's machine sees its process;
any other judges by the age of that file. Clocks of two hosts differ, so the age is measured on the clock of the file
server: that of a file that the reader makes beside it. Where it may not make one, it looks twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal  # Any: values of JSON

from ibl_dask.store.atomic import temporary_name, write_text
from ibl_dask.store.disk import OF_FULL_DISK
from ibl_dask.store.holder import AskJob, JobState
from ibl_dask.store.processes import Process, Verdict, is_suspended, state_of, this_process
from ibl_dask.store.run_folder import RunFolder
from ibl_dask.store.run_progress import Pause, RunEnd

BEAT_S = 5.0
"""Interval at which the file is renewed, s."""
SILENT_S = 60.0
"""Age from which on the driver counts as silent, s: a loaded disk delays a beat."""
BEAT_VERSION = 1

RunWord = Literal["running", "paused", "stopped", "dead", "finished", "interrupted", "unknown"]
"""paused: by its driver, which waits for something; stopped: the driver's process does not go on; dead: it is gone, or
silent on a host that cannot be seen from here; interrupted: ended by Ctrl-C or SIGTERM; unknown: a run of an earlier
version on another host."""
Clock = Literal["the file server", "this machine", "two looks"]
"""Clock on which an age was measured."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One sign of life."""

    number: int
    """Number of the beat, from 1."""
    time_s: float
    """Unix time, on the driver's clock."""
    process: str
    """Process of the driver; see `Process.mark`."""
    figures: Mapping[str, Any]
    """Live figures of the run, for display."""

    def to_json(self) -> dict[str, object]:
        """Return a mapping that `from_json` reads back."""
        return {
            "v": BEAT_VERSION,
            "number": self.number,
            "time_s": self.time_s,
            "process": self.process,
            "figures": dict(self.figures),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Beat:
        """Read the mapping that `to_json` returns.

        Raises
        ------
        KeyError, TypeError, ValueError
            If `content` is no such mapping.
        """
        figures = dict(content["figures"])
        return cls(int(content["number"]), float(content["time_s"]), str(content["process"]), figures)


def read_beat(path: Path) -> Beat | None:
    """Return the last sign of life; None where there is none, or none that can be read."""
    try:
        return Beat.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


class Heartbeat:
    """Thread that renews the sign of life of this process until it is closed.

    Parameters
    ----------
    path : Path
        The file.
    figures : callable
        Returns live figures of the run; whatever it raises is taken for none.
    after : callable
        Called after each beat, in the same thread.
    """

    def __init__(self, path: Path, figures: Callable[[], Mapping[str, Any]], after: Callable[[], None]) -> None:
        self.path = path
        self._figures = figures
        self._after = after
        self._number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on_and_on, daemon=True, name="run-heartbeat")
        self._thread.start()

    def _beat_on_and_on(self) -> None:
        while True:
            self._beat()
            if self._stop.wait(BEAT_S):
                break
            self._after()
        self._beat()  # with the figures of the end

    def _beat(self) -> None:
        figures: Mapping[str, Any] = {}
        with contextlib.suppress(Exception):  # a display must not end the beat
            figures = self._figures()
        self._number += 1
        beat = Beat(self._number, time.time(), this_process().mark, figures)
        try:
            write_text(self.path, json.dumps(beat.to_json(), default=str))
        except OSError:  # a full disk: the time stamp is a sign of life as well
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()


# -- judgement ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signs:
    """Evidence on a driver whose run has not ended."""

    process: Verdict
    """State of its process."""
    is_suspended: bool = False
    """Its process was seen, and is stopped by a signal."""
    silent_s: float | None = None
    """Age of its last sign of life, s; None where it never gave one."""
    clock: Clock = "the file server"
    """Clock on which that was measured."""
    job: JobState = "unknown"
    """State of the batch job of a driver that cannot be seen from here."""


@dataclass(frozen=True, slots=True)
class RunState:
    """State of a run."""

    word: RunWord
    """The state in one word."""
    text: str
    """The state with its evidence, as a phrase."""
    silent_s: float | None = None
    """Age of the driver's last sign of life, s; None where the run is over, or it never gave one."""
    clock: Clock | None = None
    """Clock on which that was measured."""
    pauses: tuple[Pause, ...] = ()
    """Pauses that have not ended, of the run or of parts of it."""

    @property
    def is_over(self) -> bool:
        """Return True if no driver goes on with it, as far as can be seen."""
        return self.word in ("dead", "finished", "interrupted")


def judge_run(end: RunEnd | None, pauses: tuple[Pause, ...], signs: Signs) -> RunState:
    """Return the state of a run, by its own end or by the signs of its driver."""
    if end is not None:
        word: RunWord = "interrupted" if end.interrupted else "finished"
        return RunState(word, f"{'interrupted' if end.interrupted else 'ended'} after {end.seconds:.0f} s")
    word, text = _judge_driver(signs)
    # A node or an environment that gets no more work does not stop the others; a disk stops all that write to it.
    if word == "running" and any(not pause.place or pause.failure.kind in OF_FULL_DISK for pause in pauses):
        word, text = "paused", "paused"
    return RunState(word, text, signs.silent_s, None if signs.silent_s is None else signs.clock, pauses)


def _judge_driver(signs: Signs) -> tuple[RunWord, str]:
    is_silent = signs.silent_s is not None and signs.silent_s > SILENT_S
    since = "" if signs.silent_s is None else f"no sign of life for {signs.silent_s:.0f} s"
    if signs.process == "gone":
        return "dead", "killed"
    if signs.is_suspended or (signs.process == "unknown" and signs.job == "suspended"):
        return "stopped", "stopped: its process is suspended"
    if signs.process == "alive" or signs.job == "running":
        return ("stopped", f"stopped: its process is there, with {since}") if is_silent else ("running", "under way")
    if signs.job == "ended" or is_silent:
        reason = "its batch job has ended" if signs.job == "ended" else since
        return "dead", f"killed, or its host is down: {reason}"
    return ("unknown", "under way, or killed") if signs.silent_s is None else ("running", "under way")


def look_for_signs(run: RunFolder, mark: str, job: str = "", ask_job: AskJob | None = None) -> Signs:
    """Return the signs of a driver.

    Parameters
    ----------
    run : RunFolder
        Its run.
    mark : str
        Its process; see `Process.mark`.
    job : str
        Number of the batch job that it runs in; empty outside of one.
    ask_job : callable, optional
        Returns the state of a job; called for a driver that is silent and cannot be seen from here.
    """
    process = Process.from_mark(mark)
    verdict: Verdict = "unknown" if process is None else state_of(process)
    if process is None or verdict == "gone":
        return Signs(verdict)
    if verdict == "alive" and is_suspended(process.pid):
        return Signs(verdict, is_suspended=True, silent_s=None)
    silent_s, clock = measure_silence(run.beat_file)
    asked: JobState = "unknown"
    if verdict == "unknown" and job and ask_job is not None and (silent_s is None or silent_s > SILENT_S):
        asked = ask_job(job)
    return Signs(verdict, False, silent_s, clock, asked)


def measure_silence(path: Path) -> tuple[float | None, Clock]:
    """Return the age of a sign of life, s, and the clock on which it was measured; None where there is none."""
    renewed_s = _renewed_s(path)
    if renewed_s is None:
        return None, "the file server"
    try:
        return max(0.0, _server_time_s(path) - renewed_s), "the file server"
    except OSError:
        age_s = time.time() - renewed_s
    if abs(age_s) <= SILENT_S:
        return max(0.0, age_s), "this machine"
    time.sleep(1.5 * BEAT_S)
    is_renewed = _renewed_s(path) != renewed_s
    return 0.0 if is_renewed else max(abs(age_s), SILENT_S + BEAT_S), "two looks"


def _renewed_s(path: Path) -> float | None:
    """Return the time stamp of a file; opening it makes a network file system ask its server."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return None


def _server_time_s(path: Path) -> float:
    """Return the time on the clock of a folder's file server, Unix time, s."""
    probe = temporary_name(path)
    try:
        with probe.open("xb") as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_mtime
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
