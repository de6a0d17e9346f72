"""Durations of earlier runs, from their journals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ibl_dask.model.forecast import Rates
from ibl_dask.model.result import WORK_OF_EARLIER_STEPS
from ibl_dask.store.journal import find_journals, read_journal

NEWEST = 5
"""Journals that are read; older ones may be of another machine."""
ENOUGH_PIXELS = 1e8
"""Pixels from which on a rate counts: in a shorter sum the start of a step prevails."""


def read_rates(work_dir: Path) -> Rates:
    """Return durations from the newest journals of a work folder; empty for work that these do not hold."""
    sums = _Sums()
    journals = find_journals(work_dir)[:NEWEST] if work_dir.is_dir() else []
    for journal in journals:
        sums.add(journal)
    pixels = sums.rates()
    source = "1 journal" if len(journals) == 1 else f"{len(journals)} journals"
    means = {name: sum(took) / len(took) for name, took in sums.tasks.items()}
    return Rates(pixels, means, source if pixels else "constants")


@dataclass(slots=True)
class _Sums:
    """Sums over the steps of some journals."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Kind of work -> time on one core, s."""
    pixels: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Kind of work -> pixels of all frames."""
    tasks: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Kind of a step of no camera, which is a task's name where the task is a single step -> durations, s."""

    def rates(self) -> dict[str, float]:
        """Return core-seconds per pixel, for kinds of work with enough pixels."""
        return {
            kind: self.seconds[kind] / n
            for kind, n in self.pixels.items()
            if n >= ENOUGH_PIXELS and self.seconds[kind] > 0
        }

    def add(self, journal: Path) -> None:
        """Add the steps of a journal."""
        areas: dict[tuple[str, str], int] = {}
        for event in read_journal(journal):
            record = event.get("record")
            if event.get("event") != "StepFinished" or not isinstance(record, dict):
                continue
            kind, _, camera = str(record["key"][0]).partition("-")
            value = record.get("value") or {}
            place = (str(record["key"][1]), camera)
            if "width" in value and "height" in value:
                areas[place] = int(value["width"]) * int(value["height"])
            if record.get("status") != "done" or value.get("kept"):
                continue
            seconds = float(record.get("seconds") or 0)
            work = _work_of(kind, value, areas.get(place))
            if work is not None:
                self.seconds[work[0]] += seconds
                self.pixels[work[0]] += work[1]
            elif not camera:
                self.tasks[kind].append(seconds)


def _work_of(step: str, value: Mapping[str, object], area: int | None) -> tuple[str, float] | None:
    """Return kind of work and number of pixels of a step; None for steps that are not measured by pixels.

    Parameters
    ----------
    step : str
        Kind of the step.
    value : mapping
        Its result.
    area : int or None
        Pixels of a frame of its camera; None if no index came before.
    """
    work = value.get("work")
    if isinstance(work, dict) and work.get("pixels"):
        return str(work["kind"]), float(work["pixels"])
    kind = WORK_OF_EARLIER_STEPS.get(step)
    frames = value.get("frames") or 0
    return None if kind is None or area is None or not isinstance(frames, int) else (kind, area * float(frames))
