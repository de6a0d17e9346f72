"""The experiment description: what was recorded, with which devices, on which clock.

Files in the wild are messy: versions without quotes, tasks as one dictionary, one protocol run twice, protocol
number 0, keys nobody documented. The door (`description_file`) takes all of these; what comes out is frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ibl_dask.errors import DescriptionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LABELS = ("left", "right", "body", "belly")
"""Cameras that can be timed and checked."""

_EXPECTED = {
    ("ephys", "left"): (60.0, 1280, 1024),
    ("ephys", "right"): (150.0, 640, 512),
    ("ephys", "body"): (30.0, 640, 512),
    ("training", "left"): (30.0, 1280, 1024),
}
"""(fps, width, height) a rig is set to where its description does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of a session, as described."""

    label: str
    """left, right, body or belly; others are registered but neither timed nor checked."""
    collection: str = "raw_video_data"
    """Folder of its raw files, relative to the session."""
    sync_label: str | None = "audio"
    """Sync channel that is also wired to the camera's pin 4; None where none is."""
    fps: float | None = None
    """Frame rate the rig was set to, Hz; None where unknown."""
    width: int | None = None
    """Frame width the rig was set to, pixels; None where unknown."""
    height: int | None = None
    """Frame height the rig was set to, pixels; None where unknown."""
    compressed: bool = False
    """True where the acquisition software compressed the video itself."""


@dataclass(frozen=True, slots=True)
class Sync:
    """The main clock of a session."""

    kind: str
    """nidq, bpod, tdms, ..."""
    collection: str = "raw_ephys_data"
    """Folder of its files, relative to the session."""
    extension: str | None = None
    """Extension of its binary, without the dot."""
    software: str | None = None
    """spikeglx, timeline, ...; None means the usual one for the kind."""
    others: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What else the description says of it, as read."""

    @property
    def label(self) -> str:
        """Return what decides which tasks read it: the software of a nidq, unless that is SpikeGLX, else the kind."""
        return self.software if self.kind == "nidq" and self.software not in (None, "spikeglx") else self.kind


@dataclass(frozen=True, slots=True)
class Protocol:
    """One behaviour task that ran in the session."""

    name: str
    """Name of the protocol."""
    collection: str | None = None
    """Folder of its raw files, relative to the session."""
    sync_label: str | None = None
    """Channel that carries its pulses."""
    number: int = 0
    """Its place in the session, from 0; given by `protocol_number` or by order."""
    extractors: tuple[str, ...] = ()
    """Extractor classes asked for by name, in order."""
    is_numbered: bool = False
    """Whether the description itself gives its number."""
    order: int = field(default=0, compare=False)
    """Its place in the description, from 0."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a description that makes no sense; the others are used all the same."""

    part: str
    """Where in the file, with dots between: `cameras.left.fps`, `tasks.0`, ..."""
    message: str
    """What is wrong with it."""
    is_refusal: bool = False
    """Whether it would lead out of the session, so that a run without it is no success."""

    def __str__(self) -> str:
        return f"{self.part}: {self.message}"


@dataclass(frozen=True, slots=True)
class ExperimentDescription:
    """What was recorded."""

    cameras: tuple[Camera, ...] = ()
    """Cameras in alphabetical order of their labels."""
    sync: Sync | None = None
    """The main clock; None where the description names none."""
    protocols: tuple[Protocol, ...] = ()
    """Behaviour tasks in the order in which they ran."""
    procedures: tuple[str, ...] = ()
    """Procedures, in the words of the lab."""
    projects: tuple[str, ...] = ()
    """Projects the session belongs to."""
    version: str = "1.0.0"
    """Version of the description's layout."""
    devices: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Devices other than cameras, as read."""
    pose: tuple[str, ...] | None = None
    """Pose estimators asked for, `dlc` or `lightning_pose`; None where the description leaves that to the lab."""
    problems: tuple[Problem, ...] = ()
    """Parts that make no sense and were left out."""
    origin: str = "file"
    """Where it comes from: `file`, or `protocol` where it was inferred from the protocol of a session without one."""

    def collections_of(self, protocol: str) -> tuple[str, ...]:
        """Return the folders of a protocol, one per run; empty where it did not run."""
        return tuple(p.collection for p in self.protocols if p.name == protocol and p.collection)

    @property
    def collections(self) -> tuple[str, ...]:
        """Return the folders of all protocols, each once, in order."""
        return tuple(dict.fromkeys(p.collection for p in self.protocols if p.collection))

    def protocol_in(self, collection: str) -> Protocol | None:
        """Return the protocol whose raw files are in a folder; None where there is none."""
        return next((p for p in self.protocols if p.collection == collection), None)

    def camera(self, label: str) -> Camera:
        """Return a camera with what its rig is set to, where the description itself does not say.

        Raises
        ------
        DescriptionError
            If the description has no such camera.
        """
        for camera in self.cameras:
            if camera.label == label:
                kind = "ephys" if self.sync is not None and self.sync.kind == "nidq" else "training"
                fps, width, height = _EXPECTED.get((kind, label), (None, None, None))
                return Camera(
                    label,
                    camera.collection,
                    camera.sync_label,
                    camera.fps if camera.fps is not None else fps,
                    camera.width if camera.width is not None else width,
                    camera.height if camera.height is not None else height,
                    camera.compressed,
                )
        left_out = [str(problem) for problem in self.problems if problem.part.lower().startswith(f"cameras.{label}")]
        raise DescriptionError(
            f"the experiment description has no camera {label!r}",
            expected="one of its cameras",
            got=", ".join([*(c.label for c in self.cameras), *left_out]) or "no camera at all",
            do="add the camera under `devices: cameras:` or ask for one that is there",
        )

    @classmethod
    def read(cls, path: Path) -> ExperimentDescription:
        """Read a description file.

        Parts that make no sense are left out and listed in `problems`.

        Raises
        ------
        DescriptionError
            If it is not a YAML mapping.
        """
        from ibl_dask.model.description_reader import read_content, understand

        return understand(read_content(path))


def bpod_camera(description: ExperimentDescription) -> str | None:
    """Return the camera whose pulses a Bpod can hold; None where that cannot be told.

    Port 1 takes one camera. Where several are described it is the one with `sync_label: bpod`, or the only one with a
    sync line at all, or the left one, which training rigs have.
    """
    cameras = [camera for camera in description.cameras if camera.label in LABELS]
    for chosen in (
        [camera for camera in cameras if camera.sync_label == "bpod"],
        [camera for camera in cameras if camera.sync_label is not None],
        cameras,
    ):
        labels = [camera.label for camera in chosen]
        if len(labels) == 1:
            return labels[0]
        if "left" in labels:
            return "left"
    return None
