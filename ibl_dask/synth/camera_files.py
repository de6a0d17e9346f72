"""Binary and text files of a camera's workflow beside its video.

They are written for synthetic sessions, and read to build a session around files of a real rig. Reading takes intact
files only.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.synth.clocks import CameraTimer, iso_wall_clock, pc_ticks, pin_words, unwrap_timer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.synth.truth import CameraTruth

    Floats = NDArray[np.float64]

KINDS = {"frame_data": "frameData.bin", "timestamps": "timestamps.ssv", "gpio": "GPIO.bin", "frame_counter": "frame_counter.bin"}  # fmt: skip  # noqa: E501
"""Kind of a file in `camera_files` -> end of its name on disk."""


@dataclass(frozen=True, slots=True)
class CameraRecords:
    """Records of a camera's workflow, one entry per frame of the video."""

    pc_ticks: NDArray[np.int64]
    """Clock of the acquisition PC, .NET ticks UTC."""
    timer: NDArray[np.uint32]
    """Cycle timer of the camera."""
    counter: NDArray[np.int64]
    """Frame counter of the camera, since it was switched on."""
    pins: NDArray[np.uint32]
    """GPIO word."""


def camera_records(camera: CameraTruth, edges: Floats, zero: datetime, rng: np.random.Generator) -> CameraRecords:
    """Return the records of a camera's workflow about its frames.

    Parameters
    ----------
    camera : CameraTruth
        Exposures and frames of the camera.
    edges
        Rises and falls of the line that is wired to pin 4, in turn, s on the main clock.
    zero
        Time of day at zero of the main clock.
    rng
        Chooses phases and drifts of the clocks.
    """
    times = camera.frame_times_s
    timer = CameraTimer(float(rng.uniform(0, 128)), float(rng.uniform(-80, 80)))
    ticks = pc_ticks(times, zero, float(rng.uniform(-30, 30)), rng)
    start = int(rng.integers(100_000, 20_000_000))
    return CameraRecords(ticks, timer.read(times), start + camera.frame_exposures, pin_words(times, edges))


def camera_file(folder: Path, label: str, kind: str) -> Path:
    """Return the path of a file of a camera.

    Parameters
    ----------
    folder : Path
        Folder of the videos.
    label : str
        Camera.
    kind : str
        Key of `KINDS`.
    """
    return folder / f"_iblrig_{label}Camera.{KINDS[kind]}"


def write_frame_data(folder: Path, label: str, records: CameraRecords) -> None:
    """Write `frameData.bin`: four float64 per frame, in the layout of Bonsai's MatrixWriter.

    Parameters
    ----------
    folder : Path
        Folder of the videos.
    label : str
        Camera.
    records : CameraRecords
        Content.
    """
    columns = [records.pc_ticks, records.timer, records.counter, records.pins]
    np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1).tofile(
        camera_file(folder, label, "frame_data")
    )


def write_separate_files(
    folder: Path, label: str, records: CameraRecords, *, camera_first: bool = False, utc_offset_h: int = -4
) -> None:
    """Write `timestamps.ssv`, `GPIO.bin` and `frame_counter.bin`, the layout before frameData.

    Parameters
    ----------
    folder : Path
        Folder of the files.
    label : str
        Camera.
    records : CameraRecords
        Content.
    camera_first
        Camera clock before wall clock, the order of training rigs.
    utc_offset_h
        Time zone of the wall clock.
    """
    lines = []
    for ticks, timer in zip(records.pc_ticks.tolist(), records.timer.tolist(), strict=True):
        pair = [iso_wall_clock(ticks, utc_offset_h), str(timer)]
        lines.append(" ".join(reversed(pair) if camera_first else pair) + " \n")
    camera_file(folder, label, "timestamps").write_text("".join(lines), encoding="ascii", newline="\n")
    records.pins.astype(np.float64).tofile(camera_file(folder, label, "gpio"))
    records.counter.astype(np.float64).tofile(camera_file(folder, label, "frame_counter"))


@dataclass(frozen=True, slots=True)
class RigRecords:
    """Records of a real camera that determine the pulses of a session around them."""

    seconds: Floats
    """Camera clock, seconds since the first frame."""
    counts: NDArray[np.int64]
    """Frame counter since the first frame; frames without an entry follow by ones."""
    high: NDArray[np.bool_]
    """Pin 4; frames without an entry keep the last state."""


def read_rig_files(files: Mapping[str, Path]) -> RigRecords:
    """Read camera files of a real rig.

    Parameters
    ----------
    files
        `frame_data`, or `timestamps` with `gpio` and `frame_counter` where there are any.

    Raises
    ------
    UsageError
        If there is no clock, or clock or counter do not run forwards.
    """
    unknown = sorted(set(files) - set(KINDS))
    if unknown or not {"frame_data", "timestamps"} & set(files):
        raise UsageError(
            "these camera files cannot be used",
            expected="frame_data, or timestamps and perhaps gpio and frame_counter",
            got=", ".join(files) or "none",
        )
    if "frame_data" in files:
        table = np.fromfile(files["frame_data"], dtype=np.float64).reshape(-1, 4).astype(np.int64)
        timer, counter, pins = table[:, 1], table[:, 2], table[:, 3]
    else:
        timer = _read_ssv_timer(files["timestamps"])
        counter, pins = (_read_words(files.get(kind)) for kind in ("frame_counter", "gpio"))
    seconds = unwrap_timer(timer.astype(np.uint32))
    n = seconds.size
    counts = np.concatenate([counter, _last(counter) + np.arange(1, n + 1)])[:n]
    high = np.concatenate([pins, np.full(n, _last(pins))])[:n] >> 28 & 1 == 1
    if n < 2 or np.any(np.diff(seconds) <= 0) or np.any(np.diff(counts) <= 0):
        where = ", ".join(str(path) for path in files.values())
        raise UsageError("clock or counter of these camera files do not run forwards", where)
    return RigRecords(seconds, counts - counts[0], high)


def copy_files(folder: Path, label: str, files: Mapping[str, Path]) -> None:
    """Copy camera files of a real rig into a session.

    Parameters
    ----------
    folder : Path
        Folder of the videos.
    label : str
        Camera.
    files : mapping
        Key of `KINDS` -> file.
    """
    for kind, path in files.items():
        shutil.copyfile(path, camera_file(folder, label, kind))


def _read_ssv_timer(path: Path) -> NDArray[np.int64]:
    fields = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    column = 1 if fields and fields[0][1].isdigit() else 0
    return np.array([int(field[column]) for field in fields], dtype=np.int64)


def _read_words(path: Path | None) -> NDArray[np.int64]:
    return np.empty(0, np.int64) if path is None else np.fromfile(path, dtype=np.float64).astype(np.int64)


def _last(values: NDArray[np.int64]) -> int:
    return int(values[-1]) if values.size else 0
