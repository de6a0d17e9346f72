"""Reader of description files.

Each part is validated by itself: one that is invalid is left out and named, and the others are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ibl_dask.errors import DescriptionError
from ibl_dask.model.description import Camera, ExperimentDescription, Problem, Protocol, Sync
from ibl_dask.model.places import complaint, first_fault, format_fault
from ibl_dask.model.text import read_text

if TYPE_CHECKING:
    from pathlib import Path

DESCRIPTION_NAME = "_ibl_experiment.description.yaml"
VERSION = "1.0.0"
"""Version of the layout that is written."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Parser in C, if there is one: it is several times as fast."""
_USUAL_COLLECTION = {"nidq": "raw_ephys_data", "bpod": "raw_behavior_data"}
_POSE = ("dlc", "lightning_pose")


def read_content(path: Path) -> dict[str, Any]:
    """Return the content of a description file, without validation.

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


def read_description(path: Path) -> ExperimentDescription:
    """Read a description file. Invalid parts are left out and listed in `problems`.

    Raises
    ------
    DescriptionError
        If it is not a YAML mapping.
    """
    return understand(read_content(path))


def understand(content: Mapping[str, Any], origin: str = "file") -> ExperimentDescription:
    """Return the values of a description's content; invalid parts are listed in `problems`."""
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
    """Yield each protocol and its entry, from any of the layouts: a list of mappings, or one mapping.

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


class _CameraSchema(_Loose):
    collection: str | None = None
    sync_label: str | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    compressed: bool | None = None


class _SyncSchema(_Loose):
    collection: str | None = None
    extension: str | None = None
    acquisition_software: str | None = None


class _ProtocolSchema(_Loose):
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


_Schema = TypeVar("_Schema", bound=_Loose)


def _validated(schema: type[_Schema], body: object, part: str, problems: list[Problem]) -> _Schema | None:
    """Return a part as its schema reads it; None if it is invalid, with its faults added to `problems`."""
    try:
        return schema.model_validate({} if body is None else body)
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
    """Return whether a device and the folders of its entry stay inside the session; add the fault if they do not."""
    why = complaint(str(name), is_name=True)
    fault = first_fault(body, may_vary=may_vary) if why is None else ("", format_fault(str(name), why))
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
    """Return the cameras; keys are read in either case, as the acquisition software writes them."""
    found: dict[str, Camera] = {}
    for name, body in sorted(_mapping(value, "cameras", problems).items(), key=lambda item: str(item[0])):
        lower = {str(k).lower(): v for k, v in body.items()} if isinstance(body, Mapping) else body or None
        label = str(name).lower()
        entry = _validated(_CameraSchema, lower, f"cameras.{name}", problems)
        if entry is None:
            continue
        if not _stays_inside(label, entry.model_dump(), f"cameras.{name}", problems):
            continue
        if label in found:
            problems.append(Problem(f"cameras.{name}", "this camera is described twice"))
            continue
        found[label] = Camera(
            label=label,
            collection=entry.collection or "raw_video_data",
            sync_label=entry.sync_label if "sync_label" in entry.model_fields_set else "audio",
            fps=entry.fps,
            width=entry.width,
            height=entry.height,
            compressed=bool(entry.compressed),
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
    entry = _validated(_SyncSchema, body or None, f"sync.{kind}", problems)
    if entry is None:
        return None
    names = {**(entry.model_extra or {}), "collection": entry.collection, "sync_ext": entry.extension}
    if not _stays_inside(kind, {**names, "sync_namespace": entry.acquisition_software}, f"sync.{kind}", problems):
        return None
    collection = entry.collection or _USUAL_COLLECTION.get(str(kind), "raw_sync_data")
    others = dict(entry.model_extra or {})
    return Sync(str(kind), collection, entry.extension, entry.acquisition_software, others)


def _protocols(value: object, problems: list[Problem]) -> tuple[Protocol, ...]:
    try:
        entries = list(split_tasks(value)) if value else []
    except TypeError as error:
        problems.append(Problem("tasks", str(error)))
        return ()
    found = []
    for order, (name, body) in enumerate(entries):
        entry = _validated(_ProtocolSchema, body or None, f"tasks.{order}.{name}", problems)
        if entry is None:
            continue
        if not _stays_inside(name, entry.model_dump(), f"tasks.{order}.{name}", problems):
            continue
        is_numbered = entry.protocol_number is not None
        number = order if entry.protocol_number is None else entry.protocol_number
        extractors = tuple(entry.extractors)
        found.append(Protocol(name, entry.collection, entry.sync_label, number, extractors, is_numbered, order))
    return tuple(found)
