"""Experiment description: devices, protocols and the main clock of a session.

Files of rigs vary: versions without quotes, tasks as one dictionary, one protocol run twice, protocol number 0, keys
without documentation. `description_reader` accepts all of these and returns frozen values.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ibl_dask.errors import DescriptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

LABELS = ("left", "right", "body", "belly")
"""Cameras that can be timed and checked."""

_EXPECTED = {
    ("ephys", "left"): (60.0, 1280, 1024),
    ("ephys", "right"): (150.0, 640, 512),
    ("ephys", "body"): (30.0, 640, 512),
    ("training", "left"): (30.0, 1280, 1024),
}
"""(fps, width, height) of a rig, as defaults of the description."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of a session, as described."""

    label: str
    """left, right, body or belly; others are registered but neither timed nor checked."""
    collection: str = "raw_video_data"
    """Folder of its raw files, relative to the session."""
    sync_label: str | None = "audio"
    """Sync channel that is also wired to the camera's pin 4; None if there is none."""
    fps: float | None = None
    """Nominal frame rate, Hz; None if unknown."""
    width: int | None = None
    """Nominal frame width, pixels; None if unknown."""
    height: int | None = None
    """Nominal frame height, pixels; None if unknown."""
    compressed: bool = False
    """True if the acquisition software compressed the video itself."""


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
    """Other entries of the description, as read."""

    @property
    def label(self) -> str:
        """Return the label by which tasks are chosen: the software of a nidq other than SpikeGLX, else the kind."""
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
    """The description itself gives its number."""
    order: int = field(default=0, compare=False)
    """Its place in the description, from 0."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Fault of one part of a description; the other parts are used."""

    part: str
    """Key in the file, with dots between: `cameras.left.fps`, `tasks.0`, ..."""
    message: str
    """The fault."""
    is_refusal: bool = False
    """The part leads out of the session, so that a run without it is no success."""

    def __str__(self) -> str:
        return f"{self.part}: {self.message}"


@dataclass(frozen=True, slots=True)
class ExperimentDescription:
    """Devices, protocols and main clock of a session."""

    cameras: tuple[Camera, ...] = ()
    """Cameras in alphabetical order of their labels."""
    sync: Sync | None = None
    """The main clock; None if the description names none."""
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
    """Pose estimators, `dlc` or `lightning_pose`; None if the description leaves them to the lab."""
    problems: tuple[Problem, ...] = ()
    """Parts that are left out, with their faults."""
    origin: str = "file"
    """Source: `file`, or `protocol` if it was inferred from the protocol of a session without one."""

    def collections_of(self, protocol: str) -> tuple[str, ...]:
        """Return the folders of a protocol, one per run; empty where it did not run."""
        return tuple(p.collection for p in self.protocols if p.name == protocol and p.collection)

    @property
    def collections(self) -> tuple[str, ...]:
        """Return the folders of all protocols, each once, in order."""
        return tuple(dict.fromkeys(p.collection for p in self.protocols if p.collection))

    def protocol_in(self, collection: str) -> Protocol | None:
        """Return the protocol whose raw files are in a folder; None if there is none."""
        return next((p for p in self.protocols if p.collection == collection), None)

    def camera(self, label: str) -> Camera:
        """Return a camera, with the defaults of its rig for entries that the description lacks.

        Raises
        ------
        DescriptionError
            If the description has no such camera.
        """
        for camera in self.cameras:
            if camera.label == label:
                kind = "ephys" if self.sync is not None and self.sync.kind == "nidq" else "training"
                fps, width, height = _EXPECTED.get((kind, label), (None, None, None))
                return replace(
                    camera,
                    fps=camera.fps if camera.fps is not None else fps,
                    width=camera.width if camera.width is not None else width,
                    height=camera.height if camera.height is not None else height,
                )
        left_out = [str(problem) for problem in self.problems if problem.part.lower().startswith(f"cameras.{label}")]
        raise DescriptionError(
            f"the experiment description has no camera {label!r}",
            expected="one of its cameras",
            got=", ".join([*(c.label for c in self.cameras), *left_out]) or "no camera at all",
            do="add the camera under `devices: cameras:` or ask for one that is there",
        )


def bpod_camera(description: ExperimentDescription) -> str | None:
    """Return the camera whose pulses a Bpod records; None if the description is ambiguous.

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
