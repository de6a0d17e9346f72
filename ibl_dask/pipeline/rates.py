"""How long things took: rates from the journals of earlier runs, else measured constants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ibl_dask.store.journal import find_journals, read_journal

CORE_S_PER_PIXEL = 4.3e-9
"""Decoding H.264 and all reducers: 5.7 ms for a frame of 1280x1024; 640x512 takes about half of that a pixel
(benchmarks/results/frame_pass.md)."""
ENCODING_CORE_S_PER_PIXEL = 9.7e-8
"""Compressing with x264's preset slow, comparing and measuring the result: 127 ms for a frame of 1280x1024
(benchmarks/results/compress.md)."""
NEWEST = 5
"""Journals that are looked at; older ones may be of another machine."""
ENOUGH_PIXELS = 1e8
"""Pixels from which on a rate counts: starting takes longer than so few."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How long work takes."""

    decode: float = CORE_S_PER_PIXEL
    """Decoding and measuring, core-seconds a pixel."""
    encode: float = ENCODING_CORE_S_PER_PIXEL
    """Compressing, core-seconds a pixel."""
    tasks: dict[str, float] = field(default_factory=dict)
    """Mean time of tasks of other packages, s a session, by the name of the task."""
    source: str = "constants"
    """Where the rates of video come from: `constants`, or how many journals."""


def read_rates(work_dir: Path) -> Rates:
    """Return rates from the newest journals of a work folder; constants for what these do not tell."""
    seconds: dict[str, float] = defaultdict(float)
    pixels: dict[str, float] = defaultdict(float)
    tasks: dict[str, list[float]] = defaultdict(list)
    journals = find_journals(work_dir)[:NEWEST] if work_dir.is_dir() else []
    for journal in journals:
        _add(journal, seconds, pixels, tasks)
    known = {kind: seconds[kind] / n for kind, n in pixels.items() if n >= ENOUGH_PIXELS and seconds[kind] > 0}
    return Rates(
        known.get("decode", CORE_S_PER_PIXEL),
        known.get("encode", ENCODING_CORE_S_PER_PIXEL),
        {name: sum(took) / len(took) for name, took in tasks.items()},
        ("1 journal" if len(journals) == 1 else f"{len(journals)} journals") if known else "constants",
    )


def _add(journal: Path, seconds: dict[str, float], pixels: dict[str, float], tasks: dict[str, list[float]]) -> None:
    """Add times and work of the steps in one journal."""
    areas: dict[tuple[str, str], int] = {}
    for event in read_journal(journal):
        record = event.get("record")
        if event.get("event") != "StepFinished" or not isinstance(record, dict):
            continue
        kind, _, camera = str(record["key"][0]).partition("-")
        value: dict[str, Any] = record.get("value") or {}
        place = (str(record["key"][1]), camera)
        if "width" in value and "height" in value:
            areas[place] = int(value["width"]) * int(value["height"])
        if record.get("status") != "done" or value.get("kept"):
            continue
        took = float(record.get("seconds") or 0)
        work = value.get("work") or _earlier_work(kind, value, areas.get(place))
        if work:
            seconds[work["kind"]] += took
            pixels[work["kind"]] += float(work["pixels"])
        elif not camera:
            tasks[kind].append(took)


def _earlier_work(kind: str, value: Mapping[str, Any], area: int | None) -> dict[str, Any] | None:
    """Return the work of a step in a journal of an earlier version, which noted frames, and their size with the index.

    Parameters
    ----------
    kind
        Kind of the step.
    value
        Its result.
    area
        Pixels of a frame of its camera; None where no index was noted.
    """
    work = {"framepass": "decode", "encode": "encode"}.get(kind)
    if work is None or area is None:
        return None
    return {"kind": work, "pixels": area * float(value.get("frames") or 0)}
