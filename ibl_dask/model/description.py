"""The experiment description: what was recorded, with which devices, on which clock.

Files in the wild are messy: versions without quotes, tasks as one dictionary, one protocol run twice, protocol
number 0, keys nobody documented. The door (`ExperimentDescription.read`) takes all of these; what comes out is frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

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

    def collections_of(self, protocol: str) -> tuple[str, ...]:
        """Return the folders of a protocol, one per run; empty where it did not run."""
        return tuple(p.collection for p in self.protocols if p.name == protocol and p.collection)

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
        raise DescriptionError(
            f"the experiment description has no camera {label!r}",
            expected="one of its cameras",
            got=", ".join(c.label for c in self.cameras) or "no camera at all",
            do="add the camera under `devices: cameras:` or ask for one that is there",
        )

    @classmethod
    def read(cls, path: Path) -> ExperimentDescription:
        """Read a description file.

        Raises
        ------
        DescriptionError
            If it is not YAML, or a part that is needed has the wrong shape.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DescriptionError(
                "the experiment description is not valid YAML",
                where=str(path),
                expected="a YAML mapping with sync, devices and tasks",
                got=" ".join(str(error).split()),
                do="mend the file, or copy it again from the acquisition computer",
            ) from error
        if content is None:
            content = {}
        try:
            return _Door.model_validate(content).frozen()
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}" for item in error.errors()
            )
            raise DescriptionError(
                "the experiment description cannot be understood",
                where=str(path),
                expected="sync, devices and tasks as written by the acquisition software",
                got=problems,
                do="mend the parts named above",
            ) from error


class _Loose(BaseModel):
    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)


class _CameraDoor(_Loose):
    collection: str | None = None
    sync_label: str | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    compressed: bool | None = None


class _CamerasDoor(_Loose):
    cameras: dict[str, _CameraDoor] = Field(default_factory=dict)

    @field_validator("cameras", mode="before")
    @classmethod
    def _cameras(cls, value: object) -> object:
        """Take keys in either case, as the acquisition software writes them."""
        if not isinstance(value, dict):
            return value or {}
        return {
            str(label): {str(k).lower(): v for k, v in body.items()} if isinstance(body, dict) else body or {}
            for label, body in value.items()
        }


class _SyncDoor(_Loose):
    collection: str | None = None
    extension: str | None = None
    acquisition_software: str | None = None


class _ProtocolDoor(_Loose):
    collection: str | None = None
    sync_label: str | None = None
    protocol_number: int | None = None
    extractors: list[str] = Field(default_factory=list)

    @field_validator("extractors", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        if value is None:
            return []
        return [value] if isinstance(value, str) else value


class _Door(_Loose):
    version: str = "1.0.0"
    devices: dict[str, Any] = Field(default_factory=dict)
    sync: dict[str, _SyncDoor] = Field(default_factory=dict)
    tasks: list[dict[str, _ProtocolDoor]] = Field(default_factory=list)
    procedures: list[str] = Field(default_factory=list)
    projects: list[str] = Field(default_factory=list)

    @field_validator("devices", "procedures", "projects", mode="before")
    @classmethod
    def _none_is_empty(cls, value: object) -> object:
        return [] if value is None else value

    @field_validator("devices", mode="before")
    @classmethod
    def _devices(cls, value: object) -> object:
        return value or {}

    @field_validator("sync", mode="before")
    @classmethod
    def _sync(cls, value: object) -> object:
        return {k: v or {} for k, v in value.items()} if isinstance(value, dict) else value or {}

    @field_validator("tasks", mode="before")
    @classmethod
    def _tasks(cls, value: object) -> object:
        """Split dictionaries of several protocols, the layout before version 1.0.0."""
        if value is None:
            return []
        entries = [value] if isinstance(value, dict) else value
        if not isinstance(entries, list):
            return value
        return [
            {name: body or {}}
            for entry in entries
            for name, body in (entry.items() if isinstance(entry, dict) else [(str(entry), {})])
        ]

    def frozen(self) -> ExperimentDescription:
        cameras = []
        for label, door in sorted(_CamerasDoor.model_validate(self.devices).cameras.items()):
            described = "sync_label" in door.model_fields_set
            cameras.append(
                Camera(
                    label=str(label).lower(),
                    collection=door.collection or "raw_video_data",
                    sync_label=door.sync_label if described else "audio",
                    fps=door.fps,
                    width=door.width,
                    height=door.height,
                    compressed=bool(door.compressed),
                )
            )
        sync = None
        if self.sync:
            kind, body = next(iter(self.sync.items()))
            usual = {"nidq": "raw_ephys_data", "bpod": "raw_behavior_data"}.get(kind, "raw_sync_data")
            sync = Sync(kind, body.collection or usual, body.extension, body.acquisition_software)
        protocols = tuple(
            Protocol(
                name=name,
                collection=body.collection,
                sync_label=body.sync_label,
                number=order if body.protocol_number is None else body.protocol_number,
                extractors=tuple(body.extractors),
            )
            for order, (name, body) in enumerate(pair for entry in self.tasks for pair in entry.items())
        )
        return ExperimentDescription(
            cameras=tuple(cameras),
            sync=sync,
            protocols=protocols,
            procedures=tuple(self.procedures),
            projects=tuple(self.projects),
            version=self.version,
            devices={kind: body for kind, body in self.devices.items() if kind != "cameras"},
        )
