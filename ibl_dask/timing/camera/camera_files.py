"""What the camera's own computer wrote down about each frame.

Two generations of files say the same things. The present one is a single table (`frameData.bin`: wall
clock, camera clock, frame counter, pins); the older one is up to three files (`timestamps.ssv`, `GPIO.bin`,
`frame_counter.bin`). Either way the result is `CameraFiles`: one row per frame, clocks in seconds from the
first frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.errors import MissingFile, TruncatedFile, UnequalLengths, UnusableFile
from ibl_dask.timing.camera.timestamps_ssv import read_registers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]
    BoolArray = NDArray[np.bool_]

CYCLE_S = 128.0
"""The camera clock starts again at zero after this long, s."""
_CYCLES_PER_S = 8000
_CLOCKS_AGREE_S, _CLOCKS_DRIFT = 2.0, 2e-4
"""The computer notes a frame with this delay at most, s, and its clock runs off the camera's by this much at most."""
_TICKS_PER_S = 1e7
_RECORD_BYTES = 32
_UINT32 = 2**32
_PIN_UNIT = 2**28
_PIN_STATES = ((np.arange(16)[:, None] >> np.array([3, 2, 1, 0])) & 1).astype(np.bool_)
"""Pins 1 to 4 by the top four bits, pin 1 first."""
_FPS_UNKNOWN = 30.0
"""Frame rate taken for "one second of frames" where no clock tells, Hz: that of the slowest camera."""
_COPY_AGAIN = "copy the file again from the acquisition computer"


@dataclass(frozen=True, slots=True, eq=False)
class CameraFiles:
    """What a camera noted about each of its frames."""

    n_frames: int
    """Frames that every file describes."""
    camera_time_s: FloatArray | None = None
    """Camera clock without its 128 s cycle, s since the first frame, 125 us steps (frame,)."""
    pc_time_s: FloatArray | None = None
    """Wall clock of the acquisition computer, s since the first frame (frame,)."""
    count: IntArray | None = None
    """Frames the camera has exposed before this one, 0 at the first; a leap is a dropped frame (frame,)."""
    pins: BoolArray | None = None
    """State of pins 1 to 4 (frame, 4)."""
    sources: tuple[str, ...] = ()
    """Names of the files."""
    notes: tuple[str, ...] = ()
    """What a reader of the result should know."""
    damaged: tuple[str, ...] = ()
    """Notes that say that something was there and could not be used: times rest on less than they should."""
    n_count_stuck: int = 0
    """Frames at which the frame counter did not grow; if there are any, it was left out."""
    n_beyond: int = 0
    """Records beyond the frames of the video, which were not looked at."""

    @property
    def period_s(self) -> float | None:
        """Return the usual time between frames, by the camera's (else the computer's) clock; None without."""
        for clock in (self.camera_time_s, self.pc_time_s):
            if clock is not None and clock.size > 1:
                period = float(np.median(np.diff(clock)))
                if period > 0:
                    return period
        return None


@dataclass(frozen=True, slots=True)
class _Remarks:
    """What there is to say about the files, as it turns up."""

    notes: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    stuck: list[int] = field(default_factory=list)
    """Frames at which the counter does not grow."""

    def damage(self, text: str) -> None:
        """Note that something cannot be used."""
        self.notes.append(text)
        self.damaged.append(text)

    def told(self) -> dict[str, Any]:  # Any: values of several kinds
        """Return what `CameraFiles` keeps of them."""
        return {"notes": tuple(self.notes), "damaged": tuple(self.damaged), "n_count_stuck": len(self.stuck)}


def read_camera_files(
    frame_data: Path | None = None,
    timestamps: Path | None = None,
    gpio: Path | None = None,
    counter: Path | None = None,
    n_frames: int | None = None,
) -> CameraFiles:
    """Read whatever a camera left behind; `frame_data` says it all and takes precedence.

    What cannot be used is left out and named in `damaged`, as long as a camera can be timed without it: a column or a
    file that makes no sense, and what is left of a last record that was cut off.

    Parameters
    ----------
    frame_data, timestamps, gpio, counter : Path, optional
        None where the session has no such file. A pin or counter file that is absent or empty counts as
        None too, since a camera is timed without them.
    n_frames
        Frames of the video: records beyond them are counted and not looked at. None for all records.

    Raises
    ------
    MissingFile
        If no path is given, or the clock file of a path is not there.
    TruncatedFile, UnusableFile
        If the table of a camera is empty or holds no whole record.
    UnequalLengths
        If the files differ by more than a second or half a percent of frames, whichever is more.
    """
    if frame_data is not None:
        return read_frame_data(frame_data, n_frames)
    if timestamps is None and gpio is None and counter is None:
        raise MissingFile(
            "the camera left no file about its frames",
            expected="frameData.bin, or timestamps.ssv with GPIO.bin and frame_counter.bin",
            got="none of them",
            do="copy the raw video folder again from the acquisition computer",
        )
    remarks = _Remarks()
    clocks, n_clocks = _clocks_or_none(timestamps, n_frames, remarks)
    pins, n_pins = None, 0
    if gpio and _holds_data(gpio, remarks):
        values = _float64(gpio, remarks)
        pins, n_pins = _pins(values[:n_frames], gpio, remarks), values.size
    count, n_counts = None, 0
    if counter and _holds_data(counter, remarks):
        values = _without_empty(_float64(counter, remarks), counter, remarks)
        count, n_counts = _counts(values[:n_frames], counter, remarks), values.size
    parts = ((timestamps, clocks[1], n_clocks), (gpio, pins, n_pins), (counter, count, n_counts))
    # Also by what lies beyond the video: files of two recordings are no camera's, however long that is.
    lengths = {path.name: n for path, part, n in parts if path is not None and part is not None}
    n_records = min(lengths.values(), default=0)
    n_beyond = max(n_records - n_frames, 0) if n_frames is not None else 0
    files = CameraFiles(0, clocks[1], clocks[0], count, pins, tuple(lengths), n_beyond=n_beyond, **remarks.told())
    return _to_one_length(files, lengths, n_frames)


def read_frame_data(path: Path, n_frames: int | None = None) -> CameraFiles:
    """Read the table of four doubles per frame: wall clock, camera clock, frame counter, pins.

    Parameters
    ----------
    n_frames
        Frames of the video: records beyond them are counted and not looked at. None for all records.

    Raises
    ------
    MissingFile, TruncatedFile, UnusableFile
        If the file is absent, holds no whole record, or is empty.
    """
    remarks = _Remarks()
    table = _float64(path, remarks, columns=4)
    if not len(table):
        raise UnusableFile("the file is empty", str(path), "32 bytes per frame", "0 bytes", _COPY_AGAIN)
    table = _without_empty(table, path, remarks)
    n_beyond = max(len(table) - n_frames, 0) if n_frames is not None else 0
    ticks, cycles, counts, pins = table[:n_frames].T
    pc_time_s = None
    if _all_finite(ticks, "the computer's clock", path.name, remarks):
        pc_time_s = (ticks - ticks[0]) / _TICKS_PER_S
    camera_time_s = None
    if _all_uint32(cycles, "the camera's clock", path.name, remarks):
        camera_time_s = _unwrap(_cycle_seconds(cycles.astype(np.int64)), pc_time_s, remarks.notes)
    count, state = _counts(counts, path, remarks), _pins(pins, path, remarks)
    told = remarks.told()
    return CameraFiles(ticks.size, camera_time_s, pc_time_s, count, state, (path.name,), n_beyond=n_beyond, **told)


def read_timestamps_ssv(path: Path) -> tuple[FloatArray, FloatArray]:
    """Read wall clock and camera clock, one line per frame, in whichever order the rig wrote them.

    Returns
    -------
    tuple
        Wall clock and camera clock, both in s since the first frame.

    Raises
    ------
    MissingFile, UnusableFile
        If the file is absent or empty, or a line does not hold exactly one time and one camera clock.
    """
    return _clocks_of(*read_registers(path), [])


def read_gpio(path: Path) -> BoolArray:
    """Read the state of pins 1 to 4 (frame, 4).

    Raises
    ------
    MissingFile, TruncatedFile, UnusableFile
        If the file is absent, or holds no pin states.
    """
    remarks = _Remarks()
    pins = _pins(_float64(path, remarks), path, remarks)
    if pins is None:
        raise UnusableFile(remarks.notes[-1], str(path), "whole numbers k * 2^28, k = 0 to 15", "others", _COPY_AGAIN)
    return pins


def read_frame_counter(path: Path) -> IntArray:
    """Read the camera's frame counter, 0 at the first frame.

    Raises
    ------
    MissingFile, TruncatedFile, UnusableFile
        If the file is absent, holds no whole numbers, or the counter does not grow.
    """
    remarks = _Remarks()
    count = _counts(_float64(path, remarks), path, remarks)
    if count is None:
        raise UnusableFile(remarks.notes[-1], str(path), "whole numbers that grow", "others", _COPY_AGAIN)
    return count


# -- binary files ------------------------------------------------------------------------------------------


def _float64(path: Path, remarks: _Remarks, columns: int = 1) -> FloatArray:
    """Read little-endian doubles; a last record that was cut off is left out."""
    record = 8 * columns
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise MissingFile("a camera file is not there", str(path), do=_COPY_AGAIN) from error
    whole, rest = divmod(size, record)
    if rest and not whole:
        raise TruncatedFile(
            "the file holds no whole record", str(path), f"{record} bytes per frame", f"{size} bytes", _COPY_AGAIN
        )
    if rest:
        remarks.damage(
            f"{path.name} ends inside a record: {whole:,} whole records were read, and {rest} bytes left out; if the "
            "recording did not stop that way, copy the file again from the acquisition computer"
        )
    values = np.fromfile(path, dtype="<f8", count=whole * columns).astype(np.float64, copy=False)
    return values.reshape(-1, columns) if columns > 1 else values


def _without_empty(values: FloatArray, path: Path, remarks: _Remarks) -> FloatArray:
    """Leave out records at the end in which nothing was written: all zeros, or no numbers."""
    rows = values.reshape(len(values), -1)
    is_empty = ((rows == 0) | ~np.isfinite(rows)).all(axis=1)
    n_empty = int(np.argmin(is_empty[::-1])) if not is_empty.all() else 0
    if not n_empty or (values.ndim == 1 and n_empty == 1 and len(values) == 1):
        return values
    remarks.notes.append(f"{path.name}: the last {n_empty:,} records are empty and were left out")
    return values[: len(values) - n_empty]


def _holds_data(path: Path, remarks: _Remarks) -> bool:
    if path.is_file() and path.stat().st_size:
        return True
    remarks.notes.append(f"{path.name} is {'empty' if path.is_file() else 'absent'} and was left out")
    return False


def _all_finite(values: FloatArray, what: str, name: str, remarks: _Remarks) -> bool:
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        remarks.damage(f"{name}: {what} is not a number at {_frames(bad)} and was left out")
    return not bad.size


def _all_uint32(values: FloatArray, what: str, name: str, remarks: _Remarks) -> bool:
    if not _all_finite(values, what, name, remarks):
        return False
    bad = np.flatnonzero((values < 0) | (values >= _UINT32) | (values != np.floor(values)))
    if bad.size:
        remarks.damage(f"{name}: {what} is not a 32-bit whole number at {_frames(bad)} and was left out")
    return not bad.size


def _frames(frames: NDArray[np.intp]) -> str:
    more = f" and {frames.size - 1:,} more" if frames.size > 1 else ""
    return f"frame {int(frames[0]):,}{more}"


def _pins(values: FloatArray, path: Path, remarks: _Remarks) -> BoolArray | None:
    """Unpack the top four bits of each value, pin 1 first."""
    if not _all_uint32(values, "the pin state", path.name, remarks):
        return None
    state = values.astype(np.int64)
    odd = np.flatnonzero(state & (_PIN_UNIT - 1))
    if odd.size:
        remarks.notes.append(
            f"{path.name}: the pin state is not a multiple of 2^28 at {_frames(odd)}; the top 4 bits were read"
        )
    pins: BoolArray = _PIN_STATES[state >> 28]
    return pins


def _counts(values: FloatArray, path: Path, remarks: _Remarks) -> IntArray | None:
    """Return the counter, 0 at the first frame; None where it is none."""
    if not _all_finite(values, "the frame counter", path.name, remarks):
        return None
    fractional = np.flatnonzero((values != np.floor(values)) | (np.abs(values) > 2.0**53))
    if fractional.size:
        remarks.damage(f"{path.name}: the frame counter is no whole number at {_frames(fractional)} and was left out")
        return None
    count = values.astype(np.int64)
    steps = np.diff(count)
    wraps = steps < -_UINT32 // 2
    if wraps.any():
        steps[wraps] += _UINT32
        count[1:] = count[0] + np.cumsum(steps)
        remarks.notes.append(f"{path.name}: the frame counter starts again after 2^32 - 1; it was continued")
    back = np.flatnonzero(steps <= 0)
    if back.size:
        frame = int(back[0]) + 1
        remarks.stuck.extend((back + 1).tolist())
        remarks.damage(
            f"{path.name}: the frame counter does not grow at frame {frame:,} ({count[frame - 1]:,} and then "
            f"{count[frame]:,}; {back.size:,} such frames) and was left out"
        )
        return None
    return count - count[0] if count.size else count


# -- clocks ------------------------------------------------------------------------------------------------


def _clocks_or_none(
    path: Path | None, n_frames: int | None, remarks: _Remarks
) -> tuple[tuple[FloatArray | None, FloatArray | None], int]:
    """Read wall clock and camera clock, or say why they cannot be used; and how many lines there are."""
    if path is None:
        return (None, None), 0
    try:
        wall_ns, register = read_registers(path)
        return _clocks_of(wall_ns[:n_frames], register[:n_frames], remarks.notes), len(register)
    except UnusableFile as error:
        remarks.damage(f"{path.name}: {error.what} ({error.got}); the camera's clocks were left out. {error.do}")
        return (None, None), 0


def _clocks_of(wall_ns: NDArray[np.int64], register: IntArray, notes: list[str]) -> tuple[FloatArray, FloatArray]:
    pc_time_s = (wall_ns - wall_ns[0]) / 1e9
    return pc_time_s, _unwrap(_cycle_seconds(register), pc_time_s, notes)


def _cycle_seconds(register: IntArray) -> FloatArray:
    """Turn the 32-bit clock into seconds: 7 bits of seconds, 13 bits of 125 us cycles, 12 bits not used."""
    return (register >> 25) + ((register >> 12) & 0x1FFF) / _CYCLES_PER_S


def _unwrap(time_s: FloatArray, pc_time_s: FloatArray | None, notes: list[str]) -> FloatArray:
    """Undo the 128 s cycle and start at zero.

    A wrap is a fall of more than half a cycle, so that frames a little out of order stay where they are.
    Over a pause of more than half a cycle the falls no longer tell how many cycles went by; there the wall
    clock does, unless it leaps by what fits no pause: then somebody set it.
    """
    if not time_s.size:
        return time_s
    steps = np.diff(time_s)
    wraps = (steps < -CYCLE_S / 2).astype(np.float64)
    if pc_time_s is not None:
        pc_steps = np.diff(pc_time_s)
        cycles = np.round((pc_steps - steps) / CYCLE_S)
        leaps = pc_steps - steps - CYCLE_S * cycles
        was_set = (np.abs(leaps) > _CLOCKS_AGREE_S + _CLOCKS_DRIFT * np.abs(pc_steps)) | (pc_steps < -_CLOCKS_AGREE_S)
        paused = (pc_steps > CYCLE_S / 2) & ~was_set
        wraps[paused] = np.maximum(cycles[paused], 0)
        notes.extend(
            f"no frame for {pc_steps[frame]:.1f} s of the wall clock after frame {int(frame):,}"
            for frame in np.flatnonzero(paused)[:10]
        )
        by_camera = steps + CYCLE_S * wraps
        notes.extend(
            f"the computer's clock leapt by {pc_steps[frame] - by_camera[frame]:+.1f} s after frame {int(frame):,} "
            "(somebody set it, or the computer was busy); frame times do not depend on it"
            for frame in np.flatnonzero(was_set)[:10]
        )
    unwrapped: FloatArray = time_s - time_s[0]
    unwrapped[1:] += CYCLE_S * np.cumsum(wraps)
    return unwrapped


# -- lengths -----------------------------------------------------------------------------------------------


def _to_one_length(files: CameraFiles, lengths: dict[str, int], n_frames: int | None) -> CameraFiles:
    """Cut the files of one camera to the shortest, and to the video, or refuse where they are too far apart."""
    if not lengths:
        return files
    shortest, longest = min(lengths.values()), max(lengths.values())
    kept = shortest if n_frames is None else min(shortest, n_frames)
    told = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
    fps = 1 / (files.period_s or 1 / _FPS_UNKNOWN)
    if longest - shortest > max(round(fps), int(0.005 * longest)):
        raise UnequalLengths(
            "the files of one camera describe different numbers of frames",
            where=", ".join(lengths),
            expected=f"lengths within {max(round(fps), int(0.005 * longest)):,} frames of each other",
            got=told,
            do="copy the files again; if the originals differ as well, move aside those that belong to "
            "another recording (pins and counter can be done without)",
        )
    notes = files.notes
    if longest > shortest and kept == shortest:
        notes = (*notes, f"the camera's files differ in length and were cut to {shortest:,} frames: {told}")
    cut: dict[str, Any] = {  # Any: the values are arrays of several kinds
        name: value[:kept] if (value := getattr(files, name)) is not None else None
        for name in ("camera_time_s", "pc_time_s", "count", "pins")
    }
    return replace(files, n_frames=kept, notes=notes, **cut)
