"""Clock of mesoscope rigs: Timeline, a DAQ that is run from MATLAB and sampled slowly.

Its fronts are extracted like those of other rigs (`_timeline_sync.*.npy`), or still in its samples, one column per
input (`_timeline_DAQdata.raw.npy`). A channel is the column of an input, counted from 1; the meta file names them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingFile, UnequalLengths, UnusableFile
from ibl_dask.model.text import read_text
from ibl_dask.timing.clocks.nidq import LINES, Sync, channel_map

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    Numbers = NDArray[np.number]
    Edges = tuple[NDArray[np.intp], NDArray[np.int8]]

_COPY_AGAIN = "copy the files of the DAQ again from the acquisition computer"
_FLOOR_PERCENTILE = 10
"""Percentile of the samples that is the level of a line at rest: the reference's. A line rests most of the time, at any
offset."""
_SMALLEST_TTL_V = 0.5
"""Smallest rise of a line above its rest, V: below it the line carries noise, since TTLs are of 3.3 V or 5 V."""


def timeline_channel_map(meta: Path | None, sync: Sync, *, where: str = "") -> dict[str, int]:
    """Return the channel of each named line.

    Parameters
    ----------
    meta : Path or None
        `_timeline_DAQdata.meta.json`.
    sync : Sync
        The fronts: channel 0 among them shows that channels are not numbered like its columns.
    where : str
        Folder of the sync, for messages.

    Raises
    ------
    MissingFile
        If the meta file is absent, unless there are fronts on channel 0: columns start at 1, so that the channels of
        such a sync were numbered in the usual order of the mesoscope rigs instead, which starts at 0.
    UnusableFile
        If the meta file names no input.

    Notes
    -----
    Usual channels never complete a meta file: the two are numbered differently, and another camera's line would pass
    for that of one that is not there.
    """
    if meta is not None:
        return {each.name: each.column for each in _read_inputs(meta)}
    if (sync.channels == 0).any():
        return channel_map(None, "timeline")
    raise MissingFile(
        "the channels of the lines are not known",
        where,
        "_timeline_DAQdata.meta.json, or channels numbered from 0 in the usual order of mesoscope rigs",
        f"channels {', '.join(map(str, sync.counts())) or 'without a front'}",
        "copy _timeline_DAQdata.meta.json from the acquisition computer",
    )


def read_timeline_recording(samples: Path, times: Path | None, meta: Path | None) -> Sync:
    """Return the fronts of all lines that a rig may have, from the samples of the DAQ.

    Voltages are compared with half of the highest one; counters give a front wherever they change.

    Parameters
    ----------
    samples, times, meta : Path
        `_timeline_DAQdata.raw.npy` (sample, input), `_timeline_DAQdata.timestamps.npy`, `_timeline_DAQdata.meta.json`;
        None for one that is missing, which raises.

    Raises
    ------
    MissingFile, UnusableFile, UnequalLengths
        If a file is absent or has another form, or they do not belong together.
    """
    times, meta = _require_beside(samples, times, "timestamps.npy"), _require_beside(samples, meta, "meta.json")
    raw, clock = _array(samples, mmap=True), _array(times).astype(np.float64, copy=False)
    if raw.ndim != 2:
        raise _unusable(samples, "samples x inputs", f"an array of shape {raw.shape}")
    if clock.ndim == 2 and clock.shape[1] == 2:  # numbers of samples and their times
        clock = np.interp(np.arange(len(raw)), clock[:, 0], clock[:, 1])
    if clock.size != len(raw):
        raise UnequalLengths(
            "the DAQ has not as many times as samples",
            str(samples.parent),
            "one time per sample",
            f"{samples.name} {len(raw):,}, {times.name} {clock.size:,}",
            _COPY_AGAIN,
        )
    pieces: list[tuple[FloatArray, NDArray[np.int64], NDArray[np.int8]]] = []
    for each in _read_inputs(meta):
        if each.name not in LINES or each.column > raw.shape[1]:
            continue
        values = np.array(raw[:, each.column - 1], dtype=np.float64)
        at, polarities = _levels(values) if each.measurement == "Voltage" else _counts(values)
        pieces.append((clock.ravel()[at], np.full(at.size, each.column), polarities))
    if not pieces:
        raise _unusable(meta, f"inputs such as {', '.join(sorted(LINES)[:4])}", "none of them")
    seconds, channels, polarities = (np.concatenate(part) for part in zip(*pieces, strict=True))
    order = np.argsort(seconds, kind="stable")
    return Sync(seconds[order], channels[order].astype(np.int64), polarities[order])


@dataclass(frozen=True, slots=True)
class _Input:
    """One input of the DAQ."""

    name: str
    column: int
    """From 1, as MATLAB counts."""
    measurement: str
    """Voltage, EdgeCount or Position."""


def _read_inputs(meta: Path) -> list[_Input]:
    """Return the inputs that were recorded."""
    try:
        entries = json.loads(read_text(meta))["inputs"]
        # MATLAB writes a list of one entry as the entry itself, and no column as an empty list.
        inputs = [
            _Input(str(each["name"]).lower(), int(each["arrayColumn"]), str(each.get("measurement", "Voltage")))
            for each in ([entries] if isinstance(entries, dict) else entries)
            if isinstance(each["arrayColumn"], int | float)
        ]
    except FileNotFoundError as error:
        raise MissingFile("the meta file of the DAQ is not there", str(meta), do=_COPY_AGAIN) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise _unusable(meta, "a list `inputs`, each with name and arrayColumn", cause) from error
    return [each for each in inputs if each.column > 0]


def _require_beside(samples: Path, path: Path | None, name: str) -> Path:
    """Return a file that belongs to the samples; raise where it is missing."""
    if path is None:
        raise MissingFile(
            "the recording of the DAQ is not complete",
            str(samples.parent),
            f"_timeline_DAQdata.{name} beside {samples.name}",
            "no such file",
            f"{_COPY_AGAIN}, or extract the sync pulses first",
        )
    return path


def _levels(volts: FloatArray) -> Edges:
    """Return the samples at which a line goes up or down, and the directions."""
    above_rest = volts - np.percentile(volts, _FLOOR_PERCENTILE) if volts.size else volts
    swing = float(above_rest.max(initial=0.0))
    if swing < _SMALLEST_TTL_V:
        return np.empty(0, np.intp), np.empty(0, np.int8)
    is_high = np.asarray(above_rest > swing / 2, dtype=np.int8)
    steps = is_high[1:] - is_high[:-1]
    at = np.flatnonzero(steps)
    return at + 1, steps[at]


def _counts(values: FloatArray) -> Edges:
    """Return the samples at which a counter changes, and the directions; it wraps at 2^32."""
    steps: FloatArray = np.diff(values)
    steps = steps - 2.0**32 * np.rint(steps / 2.0**32)
    at = np.flatnonzero(steps)
    return at + 1, np.sign(steps[at]).astype(np.int8)


def _array(path: Path, *, mmap: bool = False) -> Numbers:
    try:
        values: Numbers = np.load(path, allow_pickle=False, mmap_mode="r" if mmap else None)
    except (ValueError, EOFError) as error:
        raise _unusable(path, "a .npy file of numbers", str(error)) from error
    return values


def _unusable(path: Path, expected: str, got: str) -> UnusableFile:
    return UnusableFile("this file of the DAQ makes no sense", str(path), expected, got, _COPY_AGAIN)
