"""Fronts on the main clock: the sync triplet of a session and the names of its channels."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingFile, UnequalLengths, UnusableFile, UsageError
from ibl_dask.model.text import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_COPY_AGAIN = "copy the sync files again, or extract them anew from the recording"

_NIDQ = {
    "left_camera": 0,
    "right_camera": 1,
    "body_camera": 2,
    "imec_sync": 3,
    "frame2ttl": 4,
    "rotary_encoder_0": 5,
    "rotary_encoder_1": 6,
    "audio": 7,
    "bpod": 16,
    "laser": 17,
    "laser_ttl": 18,
}
_PROBE_3A = {
    "left_camera": 2,
    "right_camera": 3,
    "body_camera": 4,
    "bpod": 7,
    "frame2ttl": 12,
    "rotary_encoder_0": 13,
    "rotary_encoder_1": 14,
    "audio": 15,
}
_SYNC = {("frame_trigger" if label == "imec_sync" else label): n for label, n in _NIDQ.items()}
_TIMELINE = {
    "left_camera": 0,
    "right_camera": 1,
    "belly_camera": 2,
    "frame2ttl": 3,
    "audio": 4,
    "bpod": 5,
    "rotary_encoder": 6,
    "neural_frames": 7,
    "volume_counter": 8,
}
_DEFAULTS: dict[str, dict[str, int]] = {
    "nidq": _NIDQ,
    "3B": _NIDQ,
    "3A": _PROBE_3A,
    "sync": _SYNC,
    "widefield": _SYNC,
    "timeline": _TIMELINE,
    "mesoscope": _TIMELINE,
}
LINES = frozenset().union(*_DEFAULTS.values())
"""Names of all lines that some rig has."""
_PINS_3A = {
    f"pin{pin:02d}": channel for channel, pin in enumerate([1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19])
}
"""Channel behind each pin of the 3A connector; the other pins carry no data."""
_DIGITAL = re.compile(r"P0\.(\d+)")
_ANALOG = re.compile(r"AI(\d+)")
_FIRST_ANALOG = 16
"""Channel of the first analogue line."""


@dataclass(frozen=True, slots=True, eq=False)
class Fronts:
    """Rises and falls of one line, in order of time."""

    times_s: NDArray[np.float64]
    """s on the main clock (front,)."""
    polarities: NDArray[np.int8]
    """+1 where the line goes up, -1 where it goes down (front,)."""

    def __post_init__(self) -> None:
        if self.times_s.shape != self.polarities.shape or self.times_s.ndim != 1:
            raise ValueError(
                f"fronts need as many times as polarities, got {self.times_s.shape}, {self.polarities.shape}"
            )

    def __len__(self) -> int:
        return self.times_s.size

    @property
    def rises_s(self) -> NDArray[np.float64]:
        """Return the times at which the line goes up."""
        return self.times_s[self.polarities > 0]

    @property
    def falls_s(self) -> NDArray[np.float64]:
        """Return the times at which the line goes down."""
        return self.times_s[self.polarities < 0]


@dataclass(frozen=True, slots=True, eq=False)
class Sync:
    """Fronts of every line of a session."""

    times_s: NDArray[np.float64]
    """s on the main clock, in order (front,)."""
    channels: NDArray[np.int64]
    """Channel of the line (front,)."""
    polarities: NDArray[np.int8]
    """+1 up, -1 down (front,)."""

    def fronts(self, channel: int) -> Fronts:
        """Return the fronts of one line; none where it never changed."""
        chosen = self.channels == channel
        return Fronts(self.times_s[chosen], self.polarities[chosen])

    def counts(self) -> dict[int, int]:
        """Return the number of fronts per line, for lines that have any."""
        channels, numbers = np.unique(self.channels, return_counts=True)
        return {int(channel): int(number) for channel, number in zip(channels, numbers, strict=True)}


def read_sync(times_path: Path, channels_path: Path, polarities_path: Path) -> Sync:
    """Read the three files of a sync.

    Parameters
    ----------
    times_path, channels_path, polarities_path : Path
        `_spikeglx_sync.times.npy` (s), `.channels.npy` and `.polarities.npy` (+1, -1), one entry per front.

    Raises
    ------
    MissingFile, UnusableFile
        If a file is absent or no array; a time is not finite; a channel is no whole number from 0, or a polarity not
        +1 or -1; a line runs backwards in time.
    UnequalLengths
        If the three differ in length.

    Notes
    -----
    Fronts of different lines may be out of order in the files, since digital and analogue lines are extracted apart;
    they are sorted, equal times keeping their order. A single line that runs backwards means damaged files and is
    refused: sorting it would invent pulses.
    """
    paths = (times_path, channels_path, polarities_path)
    times, channels, polarities = (_load(path) for path in paths)
    if not times.size == channels.size == polarities.size:
        sizes = ", ".join(f"{p.name} {a.size:,}" for p, a in zip(paths, (times, channels, polarities), strict=True))
        raise UnequalLengths(
            "the sync files differ in length",
            str(times_path.parent),
            "one entry per front",
            sizes,
            _COPY_AGAIN,
        )
    _require(np.isfinite(times), times, times_path, "a time is not a number", "finite seconds")
    _require(
        (channels >= 0) & (channels == np.floor(channels)),
        channels,
        channels_path,
        "no channel",
        "0, 1, 2, ...",
    )
    _require(np.abs(polarities) == 1, polarities, polarities_path, "no polarity", "+1 or -1")
    lines = channels.astype(np.int64)
    by_line = np.argsort(lines, kind="stable")
    back = (np.diff(times[by_line]) < 0) & (np.diff(lines[by_line]) == 0)
    backwards = np.zeros(times.size, dtype=np.bool_)
    backwards[by_line[1:][back]] = True
    _require(~backwards, times, times_path, "a channel runs backwards in time", "times in order within a channel")
    order = np.argsort(times, kind="stable")
    return Sync(times[order], lines[order], polarities[order].astype(np.int8))


def channel_map(wiring: Path | None, kind: str = "nidq") -> dict[str, int]:
    """Return the channel of each named line.

    Parameters
    ----------
    wiring : Path or None
        The rig's wiring.json; None where it has the usual wiring.
    kind : str
        Kind of sync, for its usual wiring: nidq (or 3B), 3A, sync (or widefield), timeline (or mesoscope).

    Raises
    ------
    MissingFile, UnusableFile
        If the wiring file is absent or cannot be understood.
    UsageError
        If the kind is not known.

    Notes
    -----
    Labels that the wiring does not name keep their usual channel, unless the wiring uses that channel for another line:
    its pulses must not pass for those of a camera that is not there.
    """
    if kind not in _DEFAULTS:
        raise UsageError("no such kind of sync", expected=", ".join(_DEFAULTS), got=kind)
    usual = _DEFAULTS[kind]
    if wiring is None:
        return dict(usual)
    wired = _read_wiring(wiring)
    taken = set(wired.values())
    return wired | {label: n for label, n in usual.items() if label not in wired and n not in taken}


def _load(path: Path) -> NDArray[np.float64]:
    try:
        values: NDArray[np.float64] = np.load(path, allow_pickle=False).astype(np.float64).ravel()
    except FileNotFoundError as error:
        raise MissingFile("a sync file is not there", str(path), do=_COPY_AGAIN) from error
    except (ValueError, EOFError) as error:
        raise UnusableFile(
            "this is not an array of numbers", str(path), "a .npy file", str(error), _COPY_AGAIN
        ) from error
    return values


def _require(good: NDArray[np.bool_], values: NDArray[np.float64], path: Path, problem: str, expected: str) -> None:
    """Require that all values are good, else raise with the first that is not."""
    bad = np.flatnonzero(~good)
    if bad.size:
        raise UnusableFile(
            f"{problem} at entry {int(bad[0]):,} ({bad.size:,} in all)",
            str(path),
            expected,
            str(values[bad[0]]),
            _COPY_AGAIN,
        )


def _read_wiring(path: Path) -> dict[str, int]:
    try:
        content = json.loads(read_text(path))
    except FileNotFoundError as error:
        raise MissingFile("the wiring file is not there", str(path)) from error
    except ValueError as error:
        raise UnusableFile("the wiring file is not JSON", str(path), got=str(error), do="mend the file") from error
    sections = [
        content.get(f"SYNC_WIRING_{part}") or {} if isinstance(content, dict) else None
        for part in ("DIGITAL", "ANALOG")
    ]
    if not all(isinstance(section, dict) for section in sections):
        raise UnusableFile(
            "the wiring file has no wiring",
            str(path),
            "SYNC_WIRING_DIGITAL and SYNC_WIRING_ANALOG, each naming the line on a pin",
            json.dumps(content)[:80],
            "mend the file",
        )
    merged: Mapping[str, object] = {pin: label for section in sections if section for pin, label in section.items()}
    return {str(label): _channel(pin, path) for pin, label in merged.items() if label}


def _channel(pin: str, path: Path) -> int:
    if pin in _PINS_3A:
        return _PINS_3A[pin]
    if match := _DIGITAL.fullmatch(pin):
        return int(match[1])
    if match := _ANALOG.fullmatch(pin):
        return _FIRST_ANALOG + int(match[1])
    raise UnusableFile(
        "the wiring file names a pin that carries no data",
        str(path),
        "P0.n, AIn or pin01 to pin19",
        pin,
        "mend the file",
    )
