"""Files of a camera: clocks, frame counter and pins of each frame, written by the acquisition computer.

There are two generations of files. The present one is a single table (`frameData.bin`: wall clock, camera clock, frame
counter, pins); the older one is up to three files (`timestamps.ssv`, `GPIO.bin`, `frame_counter.bin`). Both are read
into `CameraFiles`: one row per frame, clocks in seconds from the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ibl_dask.errors import MissingFile, UnequalLengths, UnusableFile
from ibl_dask.timing.camera.camera_clock import camera_clocks, cycle_seconds, unwrap_cycles
from ibl_dask.timing.camera.records import (
    COPY_AGAIN,
    Remarks,
    frame_counts,
    holds_data,
    is_finite,
    is_uint32,
    pin_states,
    read_float64,
    without_empty_records,
)
from ibl_dask.timing.camera.timestamps_ssv import read_registers
from ibl_dask.timing.tolerance import tolerated_frames

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]
    BoolArray = NDArray[np.bool_]


Scalar = TypeVar("Scalar", bound=np.generic)

_TICKS_PER_S = 1e7
"""Ticks of the wall clock in a second (100 ns, as .NET counts)."""
_FPS_UNKNOWN = 30.0
"""Frame rate for the tolerance of lengths where no clock gives it, Hz: that of the slowest camera."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraFiles:
    """Clocks, counter and pins of each frame, as the camera's files have them."""

    n_frames: int
    """Frames that all files describe."""
    camera_time_s: FloatArray | None = None
    """Camera clock without its 128 s cycle, s since the first frame, 125 us steps (frame,)."""
    pc_time_s: FloatArray | None = None
    """Wall clock of the acquisition computer, s since the first frame (frame,)."""
    count: IntArray | None = None
    """Exposures before this frame, 0 at the first; a leap is a dropped frame (frame,)."""
    pins: BoolArray | None = None
    """State of pins 1 to 4 (frame, 4)."""
    sources: tuple[str, ...] = ()
    """Names of the files."""
    notes: tuple[str, ...] = ()
    """Remarks on the files, for the user."""
    damaged: tuple[str, ...] = ()
    """Those notes that are about records which could not be used: times rest on less evidence than they could."""
    n_count_stuck: int = 0
    """Frames at which the frame counter did not grow; if there are any, it was left out."""
    n_beyond: int = 0
    """Records beyond the frames of the video, which were not read."""

    @property
    def period_s(self) -> float | None:
        """Return the usual time between frames by the camera's (else the computer's) clock, s; None without."""
        for clock in (self.camera_time_s, self.pc_time_s):
            if clock is not None and clock.size > 1:
                period = float(np.median(np.diff(clock)))
                if period > 0:
                    return period
        return None


def read_camera_files(
    frame_data: Path | None = None,
    timestamps: Path | None = None,
    gpio: Path | None = None,
    counter: Path | None = None,
    n_frames: int | None = None,
) -> CameraFiles:
    """Read the files of a camera, of either generation; `frame_data` is complete by itself and takes precedence.

    Records that cannot be used are left out and named in `damaged`, as long as a camera can be timed without them: a
    column or a file that makes no sense, and the rest of a last record that was cut off.

    Parameters
    ----------
    frame_data, timestamps, gpio, counter : Path, optional
        None where the session has no such file. A pin or counter file that is absent or empty counts as None too,
        since a camera is timed without them.
    n_frames : int, optional
        Frames of the video: records beyond them are counted and not read. None for all records.

    Raises
    ------
    MissingFile
        If no path is given, or the clock file of a path is not there.
    TruncatedFile, UnusableFile
        If the table of a camera is empty or holds no whole record.
    UnequalLengths
        If the files differ by more than 1 s or 0.5 % of the frames, whichever is more.
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
    remarks = Remarks()
    clocks, n_clocks = _clocks_or_none(timestamps, n_frames, remarks)
    pins, n_pins = None, 0
    if gpio and holds_data(gpio, remarks):
        values = read_float64(gpio, remarks)
        pins, n_pins = pin_states(values[:n_frames], gpio, remarks), values.size
    count, n_counts = None, 0
    if counter and holds_data(counter, remarks):
        values = without_empty_records(read_float64(counter, remarks), counter, remarks)
        count, n_counts = frame_counts(values[:n_frames], counter, remarks), values.size
    parts = ((timestamps, clocks[1], n_clocks), (gpio, pins, n_pins), (counter, count, n_counts))
    # Lengths with all records beyond the video: files of two recordings differ there, and are refused.
    lengths = {path.name: n for path, part, n in parts if path is not None and part is not None}
    n_records = min(lengths.values(), default=0)
    n_beyond = max(n_records - n_frames, 0) if n_frames is not None else 0
    files = CameraFiles(
        n_frames=0,  # set below
        camera_time_s=clocks[1],
        pc_time_s=clocks[0],
        count=count,
        pins=pins,
        sources=tuple(lengths),
        notes=tuple(remarks.notes),
        damaged=tuple(remarks.damaged),
        n_count_stuck=len(remarks.stuck),
        n_beyond=n_beyond,
    )
    return _to_one_length(files, lengths, n_frames)


def read_frame_data(path: Path, n_frames: int | None = None) -> CameraFiles:
    """Read the table of four doubles per frame: wall clock, camera clock, frame counter, pins.

    Parameters
    ----------
    path : Path
        `_iblrig_*Camera.frameData.bin`.
    n_frames : int, optional
        Frames of the video: records beyond them are counted and not read. None for all records.

    Raises
    ------
    MissingFile, TruncatedFile, UnusableFile
        If the file is absent, holds no whole record, or is empty.
    """
    remarks = Remarks()
    table = read_float64(path, remarks, columns=4)
    if not len(table):
        raise UnusableFile("the file is empty", str(path), "32 bytes per frame", "0 bytes", COPY_AGAIN)
    table = without_empty_records(table, path, remarks)
    n_beyond = max(len(table) - n_frames, 0) if n_frames is not None else 0
    ticks, cycles, counts, pins = table[:n_frames].T
    pc_time_s = None
    if is_finite(ticks, "the computer's clock", path.name, remarks):
        pc_time_s = (ticks - ticks[0]) / _TICKS_PER_S
    camera_time_s = None
    if is_uint32(cycles, "the camera's clock", path.name, remarks):
        camera_time_s = unwrap_cycles(cycle_seconds(cycles.astype(np.int64)), pc_time_s, remarks.notes)
    count, state = frame_counts(counts, path, remarks), pin_states(pins, path, remarks)
    return CameraFiles(
        n_frames=ticks.size,
        camera_time_s=camera_time_s,
        pc_time_s=pc_time_s,
        count=count,
        pins=state,
        sources=(path.name,),
        notes=tuple(remarks.notes),
        damaged=tuple(remarks.damaged),
        n_count_stuck=len(remarks.stuck),
        n_beyond=n_beyond,
    )


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
    return camera_clocks(*read_registers(path), [])


def read_gpio(path: Path) -> BoolArray:
    """Read the state of pins 1 to 4 (frame, 4).

    Raises
    ------
    MissingFile, TruncatedFile, UnusableFile
        If the file is absent, or holds no pin states.
    """
    remarks = Remarks()
    pins = pin_states(read_float64(path, remarks), path, remarks)
    if pins is None:
        raise UnusableFile(remarks.notes[-1], str(path), "whole numbers k * 2^28, k = 0 to 15", "others", COPY_AGAIN)
    return pins


def read_frame_counter(path: Path) -> IntArray:
    """Read the camera's frame counter, 0 at the first frame.

    Raises
    ------
    MissingFile, TruncatedFile, UnusableFile
        If the file is absent, holds no whole numbers, or the counter does not grow.
    """
    remarks = Remarks()
    count = frame_counts(read_float64(path, remarks), path, remarks)
    if count is None:
        raise UnusableFile(remarks.notes[-1], str(path), "whole numbers that grow", "others", COPY_AGAIN)
    return count


def _clocks_or_none(
    path: Path | None, n_frames: int | None, remarks: Remarks
) -> tuple[tuple[FloatArray | None, FloatArray | None], int]:
    """Read wall clock and camera clock; where they cannot be used, None, and a remark.

    Returns
    -------
    tuple
        Both clocks in s since the first frame (frame,), and the number of lines of the file.
    """
    if path is None:
        return (None, None), 0
    try:
        wall_ns, register = read_registers(path)
        return camera_clocks(wall_ns[:n_frames], register[:n_frames], remarks.notes), len(register)
    except UnusableFile as error:
        remarks.damage(f"{path.name}: {error.what} ({error.got}); the camera's clocks were left out. {error.do}")
        return (None, None), 0


def _to_one_length(files: CameraFiles, lengths: dict[str, int], n_frames: int | None) -> CameraFiles:
    """Cut the records of one camera to the shortest file, and to the video.

    Parameters
    ----------
    files : CameraFiles
        Records as read.
    lengths : dict of str to int
        Records of each file by its name.
    n_frames : int or None
        Frames of the video.

    Raises
    ------
    UnequalLengths
        If the lengths differ by more than `timing.tolerance` allows.
    """
    if not lengths:
        return files
    shortest, longest = min(lengths.values()), max(lengths.values())
    kept = shortest if n_frames is None else min(shortest, n_frames)
    each = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
    most = tolerated_frames(longest, files.period_s or 1 / _FPS_UNKNOWN)
    if longest - shortest > most:
        raise UnequalLengths(
            "the files of one camera describe different numbers of frames",
            where=", ".join(lengths),
            expected=f"lengths within {most:,} frames of each other",
            got=each,
            do="copy the files again; if the originals differ as well, move aside those that belong to "
            "another recording (pins and counter can be done without)",
        )
    notes = files.notes
    if longest > shortest and kept == shortest:
        notes = (*notes, f"the camera's files differ in length and were cut to {shortest:,} frames: {each}")
    return replace(
        files,
        n_frames=kept,
        notes=notes,
        camera_time_s=_first(files.camera_time_s, kept),
        pc_time_s=_first(files.pc_time_s, kept),
        count=_first(files.count, kept),
        pins=_first(files.pins, kept),
    )


def _first(values: NDArray[Scalar] | None, n: int) -> NDArray[Scalar] | None:
    return None if values is None else values[:n]
