"""Set of reducers of a camera, and the regions they measure.

Regions are those of the reference implementation (camera QC, wheel alignment), in pixels of the frame size that the
rigs are set to; they are scaled to the frame size of the video.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibl_dask.model.region import Region
from ibl_dask.video.reducers.brightness import Brightness
from ibl_dask.video.reducers.camera_qc import FaceMatch, QcSamples, focus_samples, sample_frames
from ibl_dask.video.reducers.motion_energy import MotionEnergy
from ibl_dask.video.reducers.reference_frame import ReferenceFrame, find_reference
from ibl_dask.video.reducers.sharpness import Sharpness
from ibl_dask.video.reducers.thumbnails import Thumbnails

if TYPE_CHECKING:
    from pathlib import Path

    from ibl_dask.video.reducers.protocol import Reducer

_NOMINAL = {"left": (1280, 1024)}
_NOMINAL_OTHER = (640, 512)

_WHEEL = {
    "left": Region(800, 1020, 233, 1096),
    "right": Region(426, 510, 104, 545),
    "body": Region(402, 481, 31, 103),
}
_FOCUS = {
    "left": (Region(0, 400, 0, 561), Region(500, 1024, 100, 800)),
    "right": (Region(0, 196, 397, 640), Region(221, 512, 255, 640)),
    "body": (Region(143, 274, 84, 433),),
}
N_THUMBNAILS = 8
THUMBNAIL_WIDTH_PX = 320


def brightness_region(label: str, width: int, height: int) -> Region:
    """Return the region of the frame whose brightness is checked.

    Parameters
    ----------
    label : str
        left, right, body or belly.
    width, height : int
        Size of the camera's frames, pixels.

    >>> brightness_region("left", 1280, 1024)
    Region(top=0, bottom=512, left=0, right=844)
    """
    if label == "body":
        return Region(0, height, width // 2, width)
    if label == "left":
        return Region(0, max(1, height // 2), 0, max(1, int(width * 0.66)))
    return Region(0, max(1, height // 2), int(width * 0.66), width)


def wheel_region(label: str, width: int, height: int) -> Region:
    """Return the region of the frame that moves with the wheel (body camera: the tail side).

    Parameters
    ----------
    label : str
        left, right, body or belly.
    width, height : int
        Size of the camera's frames, pixels.
    """
    region = _WHEEL.get(label, _WHEEL["right"])
    return region.scaled(width, height, *_NOMINAL.get(label, _NOMINAL_OTHER))


def focus_regions(label: str, width: int, height: int) -> tuple[Region, ...]:
    """Return the regions of the frame whose focus is checked: face and paws, or the holder.

    Parameters
    ----------
    label : str
        left, right, body or belly.
    width, height : int
        Size of the camera's frames, pixels.
    """
    regions = _FOCUS.get(label, (Region(0, 512, 0, 640),))
    return tuple(r.scaled(width, height, *_NOMINAL.get(label, _NOMINAL_OTHER)) for r in regions)


def camera_reducers(
    label: str, n_frames: int, width: int, height: int, reference_frames: Path | None = None
) -> tuple[Reducer, ...]:
    """Return the reducers of a camera's frame pass.

    Parameters
    ----------
    label : str
        left, right, body or belly.
    n_frames, width, height : int
        Number of frames of the video, and their size, pixels.
    reference_frames : Path, optional
        Folder of frames of well-placed cameras, see `ibl_dask.video.reducers.reference_frame.reference_folder`;
        without one that fits the video the face is not searched.
    """
    samples = sample_frames(n_frames)
    focus = samples[focus_samples(len(samples))]
    sampled, focused = (tuple(int(i) for i in frames) for frames in (samples, focus))
    reference = find_reference(label, width, height, reference_frames)
    face = (FaceMatch(sampled, focused, reference),) if isinstance(reference, ReferenceFrame) else ()
    n_thumbnails = min(N_THUMBNAILS, n_frames)
    thumbnails = (2 * i * n_frames + n_frames for i in range(n_thumbnails))
    region = brightness_region(label, width, height)
    thumbnail_width = min(THUMBNAIL_WIDTH_PX, width)
    return (
        Brightness(region),
        MotionEnergy(wheel_region(label, width, height)),
        Sharpness(),
        QcSamples(
            frames=sampled,
            region=region,
            focus_frames=focused,
            focus_regions=focus_regions(label, width, height),
        ),
        Thumbnails(
            frames=tuple(i // (2 * n_thumbnails) for i in thumbnails),
            width=thumbnail_width,
            height=max(1, round(height * thumbnail_width / width)),
        ),
        *face,
    )
