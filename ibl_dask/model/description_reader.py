"""From the content of a description file to an `ExperimentDescription`.

Each part is looked at by itself: one that makes no sense is left out and named, the others are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ibl_dask.errors import DescriptionError
from ibl_dask.model.description import Camera, ExperimentDescription, Problem, Protocol, Sync
from ibl_dask.model.places import complaint, first_fault, told
from ibl_dask.model.text import read_text

if TYPE_CHECKING:
    from pathlib import Path

DESCRIPTION_NAME = "_ibl_experiment.description.yaml"
VERSION = "1.0.0"
"""The layout that is written."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C is several times as fast, where there is one."""
_USUAL_COLLECTION = {"nidq": "raw_ephys_data", "bpod": "raw_behavior_data"}
_POSE = ("dlc", "lightning_pose")


def read_content(path: Path) -> dict[str, Any]:
    """Return what a description file holds, unjudged.

    Raises
    ------
    DescriptionError
        If it is not a YAML mapping.
    """
    try:
        content = yaml.load(read_text(path), _LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DescriptionError(
            "the experiment description is not valid YAML",
            where=str(path),
            expected="a YAML mapping with sync, devices and tasks",
            got=" ".join(str(error).split()),
            do="mend the file, or copy it again from the acquisition computer",
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DescriptionError(
            "the experiment description cannot be understood",
            where=str(path),
            expected="a YAML mapping with sync, devices and tasks",
            got=f"file: a {type(content).__name__}",
            do="mend the file, or copy it again from the acquisition computer",
        )
    return content


def understand(content: Mapping[str, Any], origin: str = "file") -> ExperimentDescription:
    """Turn the content of a description into values; parts that make no sense are named in `problems`."""
    problems: list[Problem] = []
    devices = _mapping(content.get("devices"), "devices", problems)
    version = content.get("version")
    return ExperimentDescription(
        cameras=_cameras(devices.get("cameras"), problems),
        sync=_sync(content.get("sync"), problems),
        protocols=_protocols(content.get("tasks"), problems),
        procedures=_names(content.get("procedures"), "procedures", problems),
        projects=_names(content.get("projects"), "projects", problems),
        version=VERSION if version is None else str(version),
        devices=_devices(devices, problems),
        pose=_pose(content.get("pose"), problems),
        problems=tuple(problems),
        origin=origin,
    )


def split_tasks(value: object) -> Iterator[tuple[str, object]]:
    """Yield protocol and what is said of it, in any of the layouts: a list of mappings, or one mapping.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        raise TypeError(f"a list of protocols is needed, not a {type(value).__name__}")
    for entry in value:
        yield from ((str(n), b) for n, b in entry.items()) if isinstance(entry, Mapping) else [(str(entry), None)]


class _Loose(BaseModel):
    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)


class _CameraDoor(_Loose):
    collection: str | None = None
    sync_label: str | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    compressed: bool | None = None


class _SyncDoor(_Loose):
    collection: str | None = None
    extension: str | None = None
    acquisition_software: str | None = None


class _ProtocolDoor(_Loose):
    collection: str | None = None
    sync_label: str | None = None
    protocol_number: int | None = Field(default=None, ge=0)
    extractors: list[str] = Field(default_factory=list)

    @field_validator("extractors", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        if value is None:
            return []
        return [value] if isinstance(value, str) else value


_Door = TypeVar("_Door", bound=_Loose)


def _through(door: type[_Door], body: object, part: str, problems: list[Problem]) -> _Door | None:
    """Return what a door makes of a part; None, and its problems, where that makes no sense."""
    try:
        return door.model_validate({} if body is None else body)
    except ValidationError as error:
        problems += [Problem(".".join([part, *map(str, item["loc"])]), item["msg"]) for item in error.errors()]
        return None


def _mapping(value: object, part: str, problems: list[Problem]) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    if value:
        problems.append(Problem(part, f"a mapping is needed, not a {type(value).__name__}"))
    return {}


def _stays_inside(name: object, body: object, part: str, problems: list[Problem], *, may_vary: bool = False) -> bool:
    """Return whether a device and the folders that its entry names stay inside the session; name what does not."""
    why = complaint(str(name), is_name=True)
    fault = first_fault(body, may_vary=may_vary) if why is None else ("", told(str(name), why))
    if fault is None:
        return True
    problems.append(Problem(".".join(filter(None, (part, fault[0]))), fault[1], is_refusal=True))
    return False


def _devices(value: Mapping[Any, Any], problems: list[Problem]) -> dict[str, Any]:
    """Return the devices other than cameras, as read, without those that do not stay inside the session."""
    found: dict[str, Any] = {}
    for kind, body in value.items():
        if kind == "cameras":
            continue
        if not isinstance(body, Mapping):
            found[str(kind)] = body
            continue
        plain = {name: entry for name, entry in body.items() if not isinstance(entry, Mapping)}
        if not _stays_inside(kind, plain, str(kind), problems, may_vary=True):
            continue
        kept = {
            name: entry
            for name, entry in body.items()
            if name in plain or _stays_inside(name, entry, f"{kind}.{name}", problems, may_vary=True)
        }
        if kept or not body:
            found[str(kind)] = kept
    return found


def _names(value: object, part: str, problems: list[Problem]) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(str(name) for name in value)
    if value:
        problems.append(Problem(part, f"a list of names is needed, not a {type(value).__name__}"))
    return ()


def _pose(value: object, problems: list[Problem]) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = _names(value, "pose", problems)
    unknown = [name for name in names if name not in _POSE]
    if unknown:
        problems.append(Problem("pose", f"{', '.join(unknown)} is none of {', '.join(_POSE)}"))
    return tuple(name for name in names if name in _POSE)


def _cameras(value: object, problems: list[Problem]) -> tuple[Camera, ...]:
    """Return the cameras; keys are taken in either case, as the acquisition software writes them."""
    found: dict[str, Camera] = {}
    for name, body in sorted(_mapping(value, "cameras", problems).items(), key=lambda item: str(item[0])):
        lower = {str(k).lower(): v for k, v in body.items()} if isinstance(body, Mapping) else body or None
        label = str(name).lower()
        door = _through(_CameraDoor, lower, f"cameras.{name}", problems)
        if door is None:
            continue
        if not _stays_inside(label, door.model_dump(), f"cameras.{name}", problems):
            continue
        if label in found:
            problems.append(Problem(f"cameras.{name}", "this camera is described twice"))
            continue
        found[label] = Camera(
            label=label,
            collection=door.collection or "raw_video_data",
            sync_label=door.sync_label if "sync_label" in door.model_fields_set else "audio",
            fps=door.fps,
            width=door.width,
            height=door.height,
            compressed=bool(door.compressed),
        )
    return tuple(found[label] for label in sorted(found))


def _sync(value: object, problems: list[Problem]) -> Sync | None:
    kinds = _mapping(value, "sync", problems)
    if not kinds:
        return None
    if len(kinds) > 1:
        named = ", ".join(map(str, kinds))
        problems.append(Problem("sync", f"a session has one main clock, here are {named}; the first is taken"))
    kind, body = next(iter(kinds.items()))
    door = _through(_SyncDoor, body or None, f"sync.{kind}", problems)
    if door is None:
        return None
    entry = {**(door.model_extra or {}), "collection": door.collection, "sync_ext": door.extension}
    if not _stays_inside(kind, {**entry, "sync_namespace": door.acquisition_software}, f"sync.{kind}", problems):
        return None
    collection = door.collection or _USUAL_COLLECTION.get(str(kind), "raw_sync_data")
    others = dict(door.model_extra or {})
    return Sync(str(kind), collection, door.extension, door.acquisition_software, others)


def _protocols(value: object, problems: list[Problem]) -> tuple[Protocol, ...]:
    try:
        entries = list(split_tasks(value)) if value else []
    except TypeError as error:
        problems.append(Problem("tasks", str(error)))
        return ()
    found = []
    for order, (name, body) in enumerate(entries):
        door = _through(_ProtocolDoor, body or None, f"tasks.{order}.{name}", problems)
        if door is None:
            continue
        if not _stays_inside(name, door.model_dump(), f"tasks.{order}.{name}", problems):
            continue
        is_numbered = door.protocol_number is not None
        number = order if door.protocol_number is None else door.protocol_number
        extractors = tuple(door.extractors)
        found.append(Protocol(name, door.collection, door.sync_label, number, extractors, is_numbered, order))
    return tuple(found)
