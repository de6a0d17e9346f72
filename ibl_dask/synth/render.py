"""Videos of planned cameras: rendering and encoding of their frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import UsageError
from ibl_dask.synth.burn import burn_frame_number
from ibl_dask.synth.movie import write_video
from ibl_dask.synth.scene import FULL_SIZE, Scene
from ibl_dask.synth.scene_motion import SceneState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ibl_dask.synth.truth import CameraTruth
    from ibl_dask.synth.wheel import Behaviour

Frames = Iterable[NDArray[np.uint8]]
"""Grey frames `(y, x)`."""
Progress = Callable[[str, int, int], None]
"""Called as `(camera, frames written, frames in all)`."""

_REPORT_EVERY_FRAMES = 50
_DARK_DIVISOR = 32
"""What the lamp contributes to the light, less one."""


@dataclass(frozen=True, slots=True)
class VideoStyle:
    """Container and encoding of the videos."""

    raw_avi: bool = False
    """MPEG-4 part 2 in AVI, as the rig writes it, instead of H.264 in MP4."""
    codec: str | None = None
    """Encoder; None for the usual one of the container."""
    options: Mapping[str, str] | None = None
    """Options of the encoder on top of the defaults."""
    gop: int = 250
    """Greatest distance of keyframes, frames."""
    b_frames: int = 0
    """Greatest number of consecutive B-frames."""

    @property
    def suffix(self) -> str:
        """Return the suffix of the videos."""
        return ".raw.avi" if self.raw_avi else ".raw.mp4"

    @property
    def encoder(self) -> str:
        """Return the name of the encoder."""
        return self.codec or ("mpeg4" if self.raw_avi else "libx264")

    @property
    def encoder_options(self) -> Mapping[str, str]:
        """Return the options given, on top of fast ones."""
        fast = {"preset": "ultrafast", "crf": "23"} if self.encoder == "libx264" else {}
        return {**fast, **(self.options or {})}


@dataclass(frozen=True, slots=True)
class CameraVideo:
    """Video of one camera, rendered frame by frame."""

    camera: CameraTruth
    """Exposures and frames of the camera."""
    behaviour: Behaviour
    """Movements of the mouse."""
    footage: Frames | None
    """Frames to use; None to draw them."""
    seed: int
    """Seed of fur, wheel and noise."""
    burn: bool
    """True if frame numbers are burnt in."""
    on_progress: Progress | None
    """Called with the number of frames written."""
    dark: range = range(0)
    """Frames for which the lamp is off."""

    @property
    def cost(self) -> int:
        """Return the number of pixels to encode."""
        return self.camera.n_frames * self.camera.width * self.camera.height

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames of the video."""
        total = self.camera.n_frames
        source = iter(self._drawn() if self.footage is None else self.footage)
        for number in range(total):
            frame = next(source, None)
            if frame is None:
                raise UsageError(
                    f"the footage of camera {self.camera.label} ends early",
                    expected=f"{total:,} frames",
                    got=f"{number:,}",
                    do="give more, or loop it with `loop_clip`",
                )
            if number in self.dark:
                frame = frame // _DARK_DIVISOR
            if self.burn:
                frame = burn_frame_number(frame if frame.flags.writeable else frame.copy(), number)
            yield frame
            if self.on_progress and ((number + 1) % _REPORT_EVERY_FRAMES == 0 or number + 1 == total):
                self.on_progress(self.camera.label, number + 1, total)

    def _drawn(self) -> Iterator[NDArray[np.uint8]]:
        camera = self.camera
        seen_as = camera.label if camera.label in FULL_SIZE else "body"  # no other view is drawn
        scene = Scene(seen_as, camera.width, camera.height, self.seed)
        times = camera.frame_times_s
        wheel, tongue = self.behaviour.wheel_at(times), self.behaviour.tongue_at(times)
        busy = 0.25 + 0.75 * np.clip(self.behaviour.speed_at(times) / 4, 0, 1)
        whisk = busy * np.sin(2 * math.pi * 6 * times)
        pupil = 0.5 + 0.3 * np.sin(2 * math.pi * times / 11)
        moving = zip(wheel.tolist(), tongue.tolist(), whisk.tolist(), pupil.tolist(), strict=True)
        for number, state in enumerate(moving):
            yield scene.draw(number, SceneState(*state))


def write_videos(folder: Path, camera_videos: Iterable[CameraVideo], style: VideoStyle, workers: int) -> None:
    """Write all videos, the largest first.

    Parameters
    ----------
    folder : Path
        Folder of the videos.
    camera_videos : iterable of CameraVideo
        Videos.
    style : VideoStyle
        Container and encoding.
    workers : int
        Threads.
    """

    def write(video: CameraVideo) -> None:
        camera = video.camera
        write_video(
            folder / f"_iblrig_{camera.label}Camera{style.suffix}",
            video.frames(),
            camera.width,
            camera.height,
            camera.fps,
            style.encoder,
            options=style.encoder_options,
            gop=style.gop,
            b_frames=style.b_frames,
        )

    with ThreadPoolExecutor(max(1, workers)) as pool:
        list(pool.map(write, sorted(camera_videos, key=lambda video: -video.cost)))
