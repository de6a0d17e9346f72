"""Forecast of a whole run from a sample of its sessions: bytes to be written to each folder, core-hours, GPU-hours."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ibl_dask.model.disk_needs import Need, Place
from ibl_dask.model.forecast import Rates, TaskForecast
from ibl_dask.pipeline.driver import MOST_PLANNED_AHEAD, WINDOW_PER_SLOT
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import Pipeline, make_pipeline
from ibl_dask.pipeline.rates import read_rates
from ibl_dask.store.free_space import device_of

SAMPLE_S = 1.5
"""Time for which sessions are looked at, s: a run of thousands must start all the same."""
_SESSION_BYTES = 700_000
"""Report, checks, provenance and markers of a session (benchmarks/results/run_bytes.md)."""
_STEP_BYTES = 1150
"""Journal of a step (benchmarks/results/run_bytes.md)."""
_STEPS_PER_CAMERA = 8
_STEPS_PER_SESSION = 4


@dataclass(frozen=True, slots=True)
class RunForecast:
    """What a run will take."""

    n_sessions: int
    """Sessions of the run."""
    n_sampled: int
    """Sessions that were looked at; the others are taken to be like these."""
    needs: tuple[Need, ...] = ()
    """Bytes to be written, by folder."""
    core_s: float = 0.0
    """Expected time on one core, s."""
    gpu_s: float = 0.0
    """Expected time on one GPU, s."""
    n_unknown: int = 0
    """Tasks of unknown length."""
    n_unplanned: int = 0
    """Sampled sessions that cannot be planned, and count for nothing."""

    @property
    def n_bytes(self) -> int:
        """Return the bytes to be written in all."""
        return sum(need.n_bytes for need in self.needs)


@dataclass(slots=True)
class _Sums:
    """Sums over the sessions of a sample."""

    needs: dict[tuple[Place, int], list[Any]] = field(default_factory=lambda: defaultdict(lambda: [None, 0]))
    """What is written and the number of its file system -> [a folder on it, bytes]."""
    core_s: float = 0.0
    gpu_s: float = 0.0
    n_unknown: int = 0
    n_unplanned: int = 0
    n_steps: int = 0

    def write(self, place: Place, folder: Path, n_bytes: int) -> None:
        entry = self.needs[place, device_of(folder)]
        entry[0] = entry[0] or folder
        entry[1] += n_bytes

    def add(self, pipeline: Pipeline, planned: Sequence[TaskForecast], journal: Path) -> None:
        running = [task for task in planned if task.runs]
        if not running:
            return
        workspace = pipeline.workspace
        n_chunks = sum(camera.n_chunks_left for task in running for camera in task.cameras)
        n_cameras = len({camera.label for task in running for camera in task.cameras})
        n_steps = n_chunks + _STEPS_PER_CAMERA * n_cameras + len(running) + _STEPS_PER_SESSION
        self.write("results", workspace.session.outputs, _SESSION_BYTES + sum(task.written_bytes for task in running))
        self.write("scratch", workspace.work_dir, sum(task.scratch_bytes for task in running))
        self.write("journal", journal, _STEP_BYTES * n_steps)
        self.core_s += sum(task.core_s or 0.0 for task in running)
        self.gpu_s += sum(task.gpu_s or 0.0 for task in running)
        self.n_unknown += sum(task.core_s is None for task in running)
        self.n_steps += n_steps


def forecast_run(
    paths: Sequence[Path],
    n_workers: int,
    *,
    work_dir: Path | None = None,
    sample_s: float = SAMPLE_S,
    **request: Any,  # see `make_pipeline`
) -> RunForecast:
    """Forecast a run from as many of its sessions as can be planned in a given time, spread evenly over all.

    One session takes about 10 ms, so a run of a hundred is forecast whole. In a larger one the others are taken to be
    like the sample. Scratch is removed when a session is complete, so it is counted for the sessions that are worked on
    at a time. What tasks of other packages write is not known. A session that cannot be planned counts for nothing
    here; the run names it.

    Parameters
    ----------
    paths : sequence of Path
        Session folders.
    n_workers : int
        Worker processes; 0 for steps in this process.
    work_dir : Path, optional
        Folder of scratch and journal; by default each session's own.
    sample_s : float
        Time for which sessions are looked at, s; one is looked at in any case.
    request
        Arguments of `make_pipeline`.
    """
    sums, rates, n_sampled = _Sums(), dict[Path, Rates](), 0
    journal: Path | None = work_dir
    end = time.perf_counter() + sample_s
    for place in spread(len(paths)):
        n_sampled += 1
        try:
            pipeline = make_pipeline(paths[place], work_dir=work_dir, **request)
            folder = pipeline.workspace.work_dir
            journal = journal or folder
            if folder not in rates:
                rates[folder] = read_rates(folder)
            sums.add(pipeline, forecast(pipeline, rates[folder]), journal)
        except Exception:  # noqa: BLE001  # the run reports it, as the failure of this session
            sums.n_unplanned += 1
            continue
        finally:
            is_over = time.perf_counter() > end
        if is_over:
            break
    return _scaled(sums, len(paths), n_sampled, n_workers)


def spread(n: int) -> Iterator[int]:
    """Yield the numbers from 0 to `n` - 1 so that those yielded first are spread evenly.

    >>> list(spread(5))
    [0, 4, 2, 1, 3]
    """
    n_bits = max(0, n - 1).bit_length()
    for number in range(1 << n_bits):
        place = int(f"{number:0{n_bits}b}"[::-1], 2) if n_bits else 0
        if place < n:
            yield place


def _scaled(sums: _Sums, n_sessions: int, n_sampled: int, n_workers: int) -> RunForecast:
    """Return the forecast of all sessions from the sums over some of them."""
    factor = n_sessions / max(1, n_sampled)
    # The driver admits a session while fewer steps are outstanding than this, and plans some ahead.
    n_outstanding = WINDOW_PER_SLOT * max(1, n_workers)
    n_at_once = math.ceil(n_outstanding * n_sampled / max(1, sums.n_steps)) + MOST_PLANNED_AHEAD
    share = min(1.0, n_at_once / max(1, n_sessions))
    needs = tuple(
        Need(place, folder, math.ceil(n_bytes * factor * (share if place == "scratch" else 1)))
        for (place, _), (folder, n_bytes) in sums.needs.items()
    )
    return RunForecast(
        n_sessions,
        n_sampled,
        needs,
        sums.core_s * factor,
        sums.gpu_s * factor,
        round(sums.n_unknown * factor),
        sums.n_unplanned,
    )
