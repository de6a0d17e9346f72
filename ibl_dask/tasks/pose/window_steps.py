"""Sparse pass: a few frames of the whole video, in which a network finds where to crop for the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import DecodeFailed, WrongKeypoints
from ibl_dask.model.region import Region
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.pose.engine import Engine, EngineSettings
from ibl_dask.pose.networks import Device, Network, View
from ibl_dask.pose.windows import mean_places, picture_map, place_window, sparse_frames
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.pose.engine_steps import opened
from ibl_dask.tasks.video_sync.frame_pass import staying_the_same
from ibl_dask.video.container.index import FrameIndex

_WHOLE = Network("whole frame", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesFound(Result):
    """Mean places of keypoints in a video."""

    places: Mapping[str, tuple[float, float]]
    """Keypoint -> mean x and y, px of the frame as stored; none for keypoints that were never likely."""
    frames: int
    """Frames looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindPlaces(Step):
    """Find the mean places of keypoints in frames spread over a video."""

    kind: ClassVar[str] = "places"
    result_form: ClassVar[type[Result]] = PlacesFound

    workspace: Workspace
    """The session."""
    video: Path
    """The video."""
    settings: EngineSettings
    """The engine."""
    view: View
    """View of the camera."""
    device: Device
    """Device of the engine."""
    anchors: tuple[str, ...]
    """Keypoints that windows are anchored on."""
    found: str
    """Fingerprint of the places; see `CameraNetworks.located_fingerprint`."""
    index: StepKey
    """Indexes the video."""

    def identity(self) -> Mapping[str, object]:
        return {"found": self.found}

    def run(self, upstream: Upstream) -> PlacesFound:
        from ibl_dask.video.colour import rgb_frames_at

        frame_index = load_index(self.workspace.index_file(self.camera))
        numbers = sparse_frames(len(frame_index), frame_index.fps, frame_index.keyframes).tolist()
        whole = picture_map(_WHOLE, _whole(frame_index), self.view)
        with staying_the_same(self.video, frame_index), opened([self.settings], self.device) as engines:
            engine = engines[self.settings.name]
            self._require_anchors(engine.info.keypoints)
            frames = rgb_frames_at(self.video, frame_index, numbers)
            points = _single_frames(engine, (whole.picture(frame) for _, frame in frames if frame is not None))
        if not len(points):
            raise DecodeFailed(
                f"none of {len(numbers):,} frames spread over the {self.camera} video decodes",
                where=str(self.video),
                expected="frames that show where the animal is",
                got="nothing exact",
                do="compare the file with the original on the acquisition computer, and copy it again if they differ",
            )
        values = points.astype(np.float64)
        values[..., :2] = whole.to_frame(values[..., :2])
        return PlacesFound(places=mean_places(engine.info.keypoints, values), frames=len(points))

    def _require_anchors(self, keypoints: tuple[str, ...]) -> None:
        missing = [name for name in self.anchors if name not in keypoints]
        if missing:
            raise WrongKeypoints(
                f"windows are anchored on points that the engine {self.settings.name} does not find",
                where=f"{self.camera} camera",
                expected=", ".join(self.anchors),
                got=", ".join(keypoints),
                do="write other anchors into the profile, or another engine to `locate` them",
            )


def _single_frames(engine: Engine, pictures: Iterator[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return the values of frames that do not follow each other. (frame, keypoint, 3)"""
    size = 1 if engine.info.halo else engine.info.batch_hint
    values = [np.empty((0, len(engine.info.keypoints), 3), np.float32)]
    while batch := list(islice(pictures, size)):
        values.append(engine.predict(np.stack(batch)))
    return np.concatenate(values)


def _whole(frame_index: FrameIndex) -> Region:
    return Region(0, frame_index.height, 0, frame_index.width)


def find_region(
    network: Network, found: PlacesFound | None, view: View, frame_index: FrameIndex, where: Path
) -> Region:
    """Return the part of the frame that a network gets; see `place_window`.

    Parameters
    ----------
    network : Network
        The network.
    found : PlacesFound or None
        Places from the sparse pass; None for a network without a window.
    view : View
        View of the camera.
    frame_index : FrameIndex
        Index of the video.
    where : Path
        The video.
    """
    places = {} if found is None else {name: (place[0], place[1]) for name, place in found.places.items()}
    return place_window(network, places, view, frame_index.width, frame_index.height, str(where))
