"""The clip itself: a thread per camera decodes, paints and hands panels to FFmpeg, which joins and encodes them."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

from ibl_dask.clip.filter_graph import ffmpeg_command
from ibl_dask.clip.panels import Panels
from ibl_dask.clip.schedule import clip_rate, moments, require_within
from ibl_dask.errors import ClipFailed
from ibl_dask.store.atomic import writing_path
from ibl_dask.video.container.index import index_video

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction
    from pathlib import Path

    from ibl_dask.clip.schedule import Window
    from ibl_dask.clip.view import CameraView

_LAST_LINES = 5


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip that was written."""

    path: Path
    """The file."""
    frames: int
    """Frames of the clip."""
    rate: Fraction
    """Frames per second at which it is played."""
    lost: Mapping[str, int]
    """Camera -> frames in the clip that do not decode."""


def write_clip(views: Sequence[CameraView], window: Window, target: Path, where: str, height_px: int) -> Clip:
    """Write a clip of cameras side by side around an event; the file appears once it is complete and was read back.

    Each frame of the clip shows, of each camera, the last frame at or before its moment: black before the first one.
    The last frame of a camera stays, with a mark. The rate is that of the fastest camera as it is played, up to 60 Hz.

    Parameters
    ----------
    views : sequence of CameraView
        The cameras, from left to right.
    window : Window
        The event, and the time around it.
    target : Path
        The file, `.mp4`; replaced if it exists.
    where : str
        The session, for messages.
    height_px : int
        Largest height of the pictures; those of the highest camera are not enlarged.

    Returns
    -------
    Clip
        The clip.

    Raises
    ------
    UsageError
        If no camera recorded at the time of the event, or the clip would be too long.
    MissingEnvironment
        If the extra `clip` is not installed.
    ClipFailed
        If FFmpeg does not write the clip.
    NotWritable
        If the file cannot be written.
    """
    times = [view.times_s for view in views]
    require_within(window.event_s, times, where)
    planned = moments(window, clip_rate(times, window.speed))
    shown_height = min(height_px, max(view.index.height for view in views))
    panels = [Panels(view, planned.times_s, window.event_s, shown_height) for view in views]
    with writing_path(target) as temporary:
        _encode(panels, planned.rate, temporary)
        _require_complete(temporary, target, planned.times_s.size, planned.rate)
    lost = {each.view.label: each.n_lost for each in panels if each.n_lost}
    return Clip(target, planned.times_s.size, planned.rate, lost)


def _encode(cameras: Sequence[Panels], rate: Fraction, target: Path) -> None:
    """Run FFmpeg on the panels of all cameras.

    Each camera has a pipe and a thread of its own: FFmpeg reads as many panels of a camera as it likes before those of
    the next.
    """
    with contextlib.ExitStack() as stack:
        pipes = [os.pipe() for _ in cameras]
        readers, writers = [_Handle(pipe[0]) for pipe in pipes], [_Handle(pipe[1]) for pipe in pipes]
        for handle in (*readers, *writers):
            stack.callback(handle.close)
        sizes = [camera.size for camera in cameras]
        command = ffmpeg_command([(r.number, size) for r, size in zip(readers, sizes, strict=True)], rate, target)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[reader.number for reader in readers],
        )
        for reader in readers:
            reader.close()
        feeders = [_Feeder(camera, writer, process) for camera, writer in zip(cameras, writers, strict=True)]
        try:
            for feeder in feeders:
                feeder.start()
            _, words = process.communicate()
        finally:
            process.kill()
            process.wait()
            for feeder in feeders:
                if feeder.ident is not None:
                    feeder.join()
    for feeder in feeders:
        if feeder.error is not None:
            raise feeder.error
    if process.returncode != 0:
        _raise_refusal(words.decode(errors="replace"), process.returncode, target)


class _Handle:
    """Descriptor that is closed once."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._is_open = True

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            os.close(self.number)


class _Feeder(Thread):
    """Thread that writes the panels of one camera into its pipe; an error of it ends FFmpeg."""

    def __init__(self, camera: Panels, pipe: _Handle, process: subprocess.Popen[bytes]) -> None:
        super().__init__(name=f"clip-{camera.view.label}", daemon=True)
        self.error: Exception | None = None
        self._camera, self._pipe, self._process = camera, pipe, process

    def run(self) -> None:
        try:
            for panel in self._camera:
                _write_all(self._pipe.number, panel.data.cast("B"))
        except BrokenPipeError:
            pass  # FFmpeg ended, and its own words say why
        except Exception as error:  # noqa: BLE001  # raised by the main thread
            self.error = error
            self._process.kill()
        finally:
            self._pipe.close()


def _write_all(pipe: int, content: memoryview) -> None:
    while content:
        content = content[os.write(pipe, content) :]


def _raise_refusal(words: str, code: int, target: Path) -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO):
        if os.strerror(number) in words:
            raise OSError(number, os.strerror(number), str(target))
    raise ClipFailed(
        "FFmpeg did not write the clip",
        where=str(target),
        expected="exit code 0",
        got=f"exit code {code}: {' / '.join(words.strip().splitlines()[-_LAST_LINES:]) or 'no message'}",
        do="try a shorter clip, or install imageio-ffmpeg anew",
    )


def _require_complete(path: Path, target: Path, n_frames: int, rate: Fraction) -> None:
    """Require a clip to have the frames and the rate that were asked for."""
    index = index_video(path)
    if (len(index), index.rate) != (n_frames, rate):
        raise ClipFailed(
            "FFmpeg wrote another clip",
            where=str(target),
            expected=f"{n_frames:,} frames at {rate} Hz",
            got=f"{len(index):,} frames at {index.rate} Hz",
            do="install imageio-ffmpeg anew, and report this",
        )
