"""Logs that labcams leaves beside its videos.

A camlog is text: comments, and one line per saved frame with the camera's own frame id and clock.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingFile, UnusableFile
from ibl_dask.model.text import plain
from ibl_dask.timing.camera.camera_files import CameraFiles

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


_COPY_AGAIN = "copy the log again from the acquisition computer"
_GLUED = re.compile(rb"(# ISSUE RECORDING[^\n]*?INSTALL?ATION\.)(?=\d)")
"""labcams ends this warning without a line break, so that the line of the next frame follows on the same line."""
_WROTE = re.compile(rb"^# \[[^\n]*\bWrote (\d+) frames on [^\n]* \((\d+) files?\)", re.MULTILINE)
_NUMBER = rb"(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"
_LED = re.compile(rb"^# ?LED:" + rb",".join([rb" *" + _NUMBER] * 3), re.MULTILINE)
_SYNC = re.compile(rb"^# ?SYNC(\d*):" + rb",".join([rb" *" + _NUMBER] * 3), re.MULTILINE)
_LARGEST_ID = 2.0**53
"""Largest id that a double holds exactly."""
_PERIODS_S = (1e-3, 10.0)
"""Shortest and longest period of the cameras of these rigs, s."""
_UNITS = ((1.0, "s"), (1e-9, "ns"))
"""Units of the clock: labcams writes the seconds of FLIR cameras and the ns of Allied Vision cameras. Only one of them
gives a possible period."""


@dataclass(frozen=True, slots=True, eq=False)
class Camlog:
    """Frame ids, clock and events of one camera, as labcams noted them."""

    frame_ids: IntArray
    """The camera's own number of each frame, strictly increasing; they start at 1, or wherever the camera was
    (frame,)."""
    timestamps_s: FloatArray | None
    """The camera's clock, s since an arbitrary zero; None where it is no clock (frame,)."""
    led: FloatArray
    """LED of a widefield rig, frame, timestamp (event, 3)."""
    sync: FloatArray
    """Sync line, count, frame, timestamp (event, 4)."""
    name: str
    """Name of the file."""
    notes: tuple[str, ...] = ()
    """Remarks on the log, for the user."""
    damaged: tuple[str, ...] = ()
    """Those notes that are about values which could not be used."""
    ids_grow: bool = True
    """False where the ids cannot be used, and are numbers of lines instead."""

    @property
    def n_frames(self) -> int:
        """Return the number of saved frames."""
        return self.frame_ids.size

    @property
    def camera_files(self) -> CameraFiles:
        """Return the records in the form of other cameras' files: count and clock from the first frame on."""
        clock = self.timestamps_s
        return CameraFiles(
            self.n_frames,
            camera_time_s=None if clock is None else clock - clock[0],
            count=self.frame_ids - self.frame_ids[0] if self.ids_grow else None,
            sources=(self.name,),
            notes=self.notes,
            damaged=self.damaged,
        )


def read_camlog(path: Path) -> Camlog:
    """Read the log of a camera.

    Raises
    ------
    MissingFile
        If there is no such file.
    UnusableFile
        If it holds no frame, or a line is damaged. Only the last line may be cut off: it is left out.
    """
    try:
        content = plain(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingFile("the camera's log is not there", str(path), do=_COPY_AGAIN) from error
    notes: list[str] = []
    damaged: list[str] = []
    content = _without_torn_line(content, damaged, path.name)
    content, n_glued = _GLUED.subn(rb"\1\n", content)
    if n_glued:
        notes.append(f"{path.name}: the computer was too slow {n_glued:,} times, and frames were dropped there")
    table = _table(content, path)
    ids = _frame_ids(table[:, 0], path, damaged)
    clock = _clock_s(table[:, 1], path.name, notes, damaged)
    _compare_with_trailer(content, len(table), path.name, notes)
    events = [
        np.array([[float(value or 0) for value in groups] for groups in pattern.findall(content)]).reshape(-1, n)
        for pattern, n in ((_LED, 3), (_SYNC, 4))
    ]
    return Camlog(
        frame_ids=np.arange(len(table)) if ids is None else ids,
        timestamps_s=clock,
        led=events[0],
        sync=events[1],
        name=path.name,
        notes=(*damaged, *notes),
        damaged=tuple(damaged),
        ids_grow=ids is not None,
    )


def _without_torn_line(content: bytes, damaged: list[str], name: str) -> bytes:
    """Leave out a last line that lacks its end: its numbers may be cut as well."""
    whole, _, rest = content.rpartition(b"\n")
    if not rest or rest.startswith(b"#"):
        return content
    damaged.append(f"{name} ends within a line, which was left out: the computer stopped while it wrote")
    return whole + b"\n"


def _table(content: bytes, path: Path) -> FloatArray:
    """Return ids and timestamps. (frame, 2)"""
    if not re.search(rb"^[^#\n]*\d", content, re.MULTILINE):
        raise UnusableFile(
            "the log holds no frame",
            str(path),
            "a line `frame_id,timestamp` per frame",
            f"{content.count(b'#'):,} comments" if content else "an empty file",
            f"{_COPY_AGAIN}; if the original is the same, nothing was recorded",
        )
    try:
        table = np.loadtxt(io.BytesIO(content), delimiter=",", comments="#", usecols=(0, 1), ndmin=2)
    except ValueError as error:
        raise _damaged(content, path) from error
    if not np.isfinite(table).all():
        raise _damaged(content, path)
    return table


def _damaged(content: bytes, path: Path) -> UnusableFile:
    """Return an error that names the first line that is no frame."""
    line = re.compile(rb" *" + _NUMBER + rb" *, *" + _NUMBER + rb" *(,.*)?")
    number, text = next(
        (
            (n, text)
            for n, text in enumerate(content.split(b"\n"), 1)
            if text.strip() and not text.startswith(b"#") and not line.fullmatch(text)
        ),
        (0, b"a line that is no pair of numbers"),
    )
    return UnusableFile(
        f"line {number:,} of the log is damaged",
        where=str(path),
        expected="frame_id,timestamp such as 1,0.0014252",
        got=repr(text[:80].decode("ascii", "backslashreplace")),
        do=f"{_COPY_AGAIN}; if the original is the same, mend the line by hand: its frame needs both values",
    )


def _frame_ids(values: FloatArray, path: Path, damaged: list[str]) -> IntArray | None:
    """Return the frame ids; None where they do not grow. (frame,)"""
    if ((values != np.floor(values)) | (np.abs(values) > _LARGEST_ID)).any():
        at = int(np.flatnonzero((values != np.floor(values)) | (np.abs(values) > _LARGEST_ID))[0])
        raise UnusableFile(
            f"the id of frame {at:,} is no whole number",
            str(path),
            "1, 2, 3, ... or the camera's counter",
            f"{values[at]:g}",
            _COPY_AGAIN,
        )
    ids = values.astype(np.int64)
    back = np.flatnonzero(np.diff(ids) <= 0)
    if not back.size:
        return ids
    damaged.append(
        f"{path.name}: the frame ids do not grow at frame {int(back[0]) + 1:,} ({back.size:,} such frames) and were "
        "left out, so that dropped frames cannot be told"
    )
    return None


def _compare_with_trailer(content: bytes, n_lines: int, name: str, notes: list[str]) -> None:
    """Compare the number of lines with that in the last comment of a log."""
    wrote = _WROTE.findall(content)
    if not wrote:
        notes.append(f"{name} does not end with the number of frames: the computer stopped before the recording did")
        return
    n_written, n_files = map(int, wrote[-1])
    if n_written != n_lines:
        notes.append(f"{name} describes {n_lines:,} frames and says that {n_written:,} were written")
    if n_files > 1:
        notes.append(f"{name} is about {n_files:,} video files, the first of which is looked at")


def _clock_s(values: FloatArray, name: str, notes: list[str], damaged: list[str]) -> FloatArray | None:
    """Return the camera's clock in s; None where it is no clock."""
    if values.size < 2:
        return values
    step = float(np.median(np.diff(values)))
    unit = next((unit for unit in _UNITS if _PERIODS_S[0] <= step * unit[0] <= _PERIODS_S[1]), None)
    if unit is None or (np.diff(values) <= 0).any():
        damaged.append(f"{name}: the timestamps are no clock in s or ns (usual step {step:g}) and were left out")
        return None
    if unit[1] != "s":
        notes.append(f"{name}: the timestamps are {step:g} apart and were taken for {unit[1]}")
    return values * unit[0]
