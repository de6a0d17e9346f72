"""Explanation of one file of a session: its maker, whether it is stale, and what a run would compute anew."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ibl_dask.errors import MissingFile, UsageError
from ibl_dask.model.forecast import TaskForecast
from ibl_dask.model.json_object import JsonObject
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import Pipeline, make_pipeline
from ibl_dask.pipeline.rates import read_rates
from ibl_dask.store import alf
from ibl_dask.store.failures import failure_from
from ibl_dask.store.identity import looks_like, sha256_of
from ibl_dask.store.marker import content_digest
from ibl_dask.store.task_record import TaskRecord, identities
from ibl_dask.tasks.field_outputs import usual_makers
from ibl_dask.tasks.file_makers import Maker, find_maker
from ibl_dask.tasks.file_places import Place, locate
from ibl_dask.tasks.provenance import made_with, read_provenance
from ibl_dask.video.decoder import decoder_build

InputState = Literal["same", "changed", "gone", "unknown"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Explanation of one file."""

    path: Path
    """The file."""
    session: Path
    """Its session."""
    maker: Maker
    """Its maker."""
    exists: bool
    """It is there."""
    field_tasks: tuple[str, ...] = ()
    """Classes of the field that usually leave such a file, where nobody here made it."""
    inputs: Sequence[tuple[JsonObject, InputState]] = ()
    """Recorded inputs, and whether they are the same now."""
    stale: tuple[str, ...] = ()
    """Reasons for which it is stale; empty where none is known."""
    versions_changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Package -> its version then and now."""
    anew: tuple[TaskForecast, ...] = ()
    """Forecasts of its task and of all tasks that a run would execute."""
    no_forecast: str = ""
    """Reason for which there is no forecast; empty where there is one."""

    def to_json(self) -> dict[str, object]:
        """Return the explanation as plain values."""
        maker = self.maker
        return {
            "file": str(self.path),
            "session": str(self.session),
            "exists": self.exists,
            "origin": maker.origin,
            "task": maker.task,
            "class": maker.executable,
            "step": maker.step,
            "camera": maker.camera,
            "run": maker.run,
            "host": maker.host,
            "time_s": maker.ended_s,
            "seconds": maker.seconds,
            "fingerprint": maker.fingerprint,
            "parameters": dict(maker.parameters),
            "inputs": [{**row, "state": state} for row, state in self.inputs],
            "versions": dict(maker.versions),
            "versions_changed": {name: list(both) for name, both in self.versions_changed.items()},
            "compression": {} if maker.compression is None else maker.compression.summary,
            "field_tasks": list(self.field_tasks),
            "is_stale": bool(self.stale),
            "stale": list(self.stale),
            "anew": [task.to_json() for task in self.anew],
            "no_forecast": self.no_forecast,
        }


def explain(path: Path, site: Mapping[str, object] | None = None) -> Explanation:
    """Explain a file of a session; nothing is written.

    Parameters
    ----------
    path : Path
        Result, log or record of a session, or a file of its scratch.
    site : mapping, optional
        Options of a site for the forecast, such as environments of other packages; see `Profile.task_options`.

    Raises
    ------
    UsageError
        If the file belongs to no session.
    MissingFile
        If it is not there, and no record tells of it.
    """
    place = locate(path)
    if place is None:
        raise UsageError(
            "this file belongs to no session",
            where=str(path),
            expected="a file in a session folder, subject/YYYY-MM-DD/NNN, or in the scratch of one",
            got=str(path),
            do="give the path of the file within its session",
        )
    pipeline, planned, problem = _plan(place, site or {})
    classes = {} if pipeline is None else {spec.name: spec.executable for spec in pipeline.specs}
    maker = find_maker(place, classes)
    exists = place.path.exists()
    if not exists and maker.origin == "unknown":
        raise MissingFile(
            "there is no such file, and no record of one",
            where=str(place.path),
            expected="a file that is there, or that a task left before",
            got="nothing",
            do="check the path",
        )
    inputs = [(row, _state(place, row)) for row in maker.inputs]
    mine = next((task for task in planned if task.task == maker.task), None)
    is_computed = maker.origin in ("made", "scratch")
    return Explanation(
        path=place.path,
        session=place.workspace.session.path,
        maker=maker,
        exists=exists,
        field_tasks=usual_makers(place.name) if maker.origin in ("unknown", "found") else (),
        inputs=inputs,
        stale=tuple(_reasons(place, maker, inputs, mine, exists=exists)) if is_computed else (),
        versions_changed=_changed_versions(maker.versions),
        anew=tuple(task for task in planned if task.runs or task is mine),
        no_forecast=problem,
    )


def _plan(place: Place, site: Mapping[str, object]) -> tuple[Pipeline | None, list[TaskForecast], str]:
    """Return tasks and forecast of a session; with the reason, where there are none."""
    workspace = place.workspace
    try:
        options = {**_options(place), **site}
        pipeline = make_pipeline(workspace.session, work_dir=workspace.work_dir, **options)
        return pipeline, forecast(pipeline, read_rates(workspace.work_dir)), ""
    except Exception as error:  # noqa: BLE001  # a session that cannot be planned still has its records
        return None, [], failure_from(error).message


def _options(place: Place) -> dict[str, Any]:  # options have many types
    """Return the options of the latest runs of a session, with which another one would be planned."""
    options: dict[str, Any] = {}
    for request in (read_provenance(place.workspace).get("requests") or {}).values():
        options |= request.get("options") or {}
    return options


def _state(place: Place, row: JsonObject) -> InputState:
    """Return whether an input is the same as when it was read."""
    session = place.workspace.session
    name = str(row.get("path") or "")
    candidates = [root / name for root in session.roots] if name else []
    if not name:  # earlier versions noted the name alone
        folders = {camera.collection for camera in session.description.cameras}
        candidates = [root / folder / str(row.get("name")) for root in session.roots for folder in folders]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        return "gone"
    if not ({"content", "mtime_ns"} & row.keys()):
        return "unknown"
    if "content" not in row:  # a large input of a task of another package
        now = identities([found]).get(str(found)) or {}
        return "same" if all(now.get(key) == row.get(key) for key in ("size", "mtime_ns")) else "changed"
    return "same" if looks_like(found, {"name": found.name, **row}) else "changed"


def _reasons(
    place: Place,
    maker: Maker,
    inputs: Sequence[tuple[JsonObject, InputState]],
    mine: TaskForecast | None,
    *,
    exists: bool,
) -> list[str]:
    """Return the reasons for which a file is stale."""
    reasons = []
    if not exists:
        reasons.append("it is gone")
    elif _is_changed(place, maker):
        reasons.append("the file was changed since: its content is not what was recorded")
    newer = _newer_revision(place.path)
    if newer is not None:
        reasons.append(f"there is a newer revision, which readers take instead: {newer}")
    names = [str(row.get("path") or row.get("name")) for row, state in inputs if state == "changed"]
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        reasons.append(f"inputs changed since: {', '.join(names[:5])}{more}")
    reasons += _task_reasons(maker, mine)
    return reasons


def _newer_revision(path: Path) -> Path | None:
    """Return the newest revision of an ALF file; None where it is the file itself."""
    is_revision = path.parent.name.startswith("#") and path.parent.name.endswith("#")
    newest = alf.latest(path.parent.parent / path.name if is_revision else path)
    return None if newest == path else newest


def _is_changed(place: Place, maker: Maker) -> bool:
    """Return whether the content of a file differs from what was recorded when it was made."""
    with contextlib.suppress(OSError):
        if maker.compression is not None and place.path.suffix == ".mp4":
            return sha256_of(place.path) != maker.compression.sha256
        if maker.digest:
            return content_digest(place.path) != maker.digest
        if maker.record is not None:
            return "changed output" in _review(maker.record)
        if maker.identity and place.path.is_file():
            return not looks_like(place.path, maker.identity)
    return False


def _review(record: TaskRecord) -> str:
    """Return why a completion record does not hold any more, by its own files alone; empty where it holds."""
    review = record.review(record.fingerprint, identities(record.inputs))
    return "" if review.facts is not None else f"{review.why}: {review.detail}"


def _task_reasons(maker: Maker, mine: TaskForecast | None) -> list[str]:
    """Return the reasons of the task for which it would make the file anew."""
    if mine is None or not mine.runs or mine.why == "listed anew":
        return []
    if not mine.cameras:
        return [f"{mine.why}: {mine.detail}" if mine.detail else mine.why]
    of_mine = [each for each in mine.cameras if maker.camera in ("", each.label)]
    idle = ("nothing to do", "no input")
    return [f"{each.why} ({each.label}): {each.detail}" for each in of_mine if each.why not in idle]


def _changed_versions(then: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    if not then:
        return {}
    now = {name: str(text) for name, text in made_with().items()}
    if "decoder" in then:
        now["decoder"] = decoder_build()
    return {name: (text, now.get(name, "none")) for name, text in then.items() if now.get(name) != text}
