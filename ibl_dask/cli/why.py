"""`ibl-dask why`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from ibl_dask.cli.console import out, print_whole
from ibl_dask.cli.guard import printable
from ibl_dask.model.forecast import TaskForecast
from ibl_dask.pipeline.why import Explanation, explain
from ibl_dask.tasks.file_makers import Maker

MOST_INPUTS = 30
"""Inputs that are printed; `--json` has all."""


def show_why(path: Path, profile: Path | None, as_json: bool) -> int:
    """Print the maker of a file, whether it is stale, and what would be computed anew; return 1 if it is stale.

    Parameters
    ----------
    path : Path
        The file.
    profile : Path or None
        Site profile, for environments of other packages, engines and networks.
    as_json : bool
        Print JSON instead.
    """
    from ibl_dask.deploy.site.schema import read_profile

    found = explain(path, None if profile is None else read_profile(profile).task_options)
    if as_json:
        print_whole(json.dumps(found.to_json(), indent=1, default=printable))
    else:
        for heading, text in _lines(found):
            out.print(f"{heading:<11} {printable(text)}", markup=False)
    return int(bool(found.stale))


def _lines(found: Explanation) -> list[tuple[str, str]]:
    """Return (heading, text) of everything that is known."""
    maker = found.maker
    lines = [("file", str(found.path)), ("session", str(found.session)), ("made by", _made_by(found))]
    if maker.origin not in ("made", "scratch"):
        return lines
    if maker.ended_s is not None or maker.run:
        lines.append(("when", _when(maker)))
    if maker.host:
        lines.append(("where", maker.host))
    if maker.parameters:
        lines.append(("with", ", ".join(f"{name}={value}" for name, value in maker.parameters.items())))
    if maker.compression is not None:
        summary = maker.compression.summary
        text = f"{summary['profile']}, {summary['frames']:,} frames, SHA-256 {summary['sha256']}"
        lines.append(("compression", text))
    for number, (row, state) in enumerate(found.inputs[:MOST_INPUTS]):
        size, content = row.get("size"), row.get("content")
        known = f"{size:,} bytes" if isinstance(size, int) else ""
        text = f"{row.get('path') or row.get('name')}  {known}  {content or ''}  {state}"
        lines.append(("from" if not number else "", text))
    if len(found.inputs) > MOST_INPUTS:
        lines.append(("", f"and {len(found.inputs) - MOST_INPUTS} more (--json)"))
    if maker.versions:
        lines.append(("versions", ", ".join(f"{name} {text}" for name, text in maker.versions.items())))
    lines += [("", f"{name} is {now} now, was {then}") for name, (then, now) in found.versions_changed.items()]
    lines += [("stale", reason) for reason in found.stale] or [("stale", "no")]
    return lines + _costs(found)


def _made_by(found: Explanation) -> str:
    maker = found.maker
    usual = f"; tasks of the field that leave such a file: {', '.join(found.field_tasks)}" if found.field_tasks else ""
    if maker.origin == "unknown":
        is_raw = not usual and found.path.is_relative_to(found.session)
        raw = is_raw and found.path.relative_to(found.session).parts[0].startswith("raw_")
        return "no task here" + (usual or ("; it is raw data, as the rig recorded it" if raw else ""))
    if maker.origin == "found":
        return f"no task here: {maker.task or maker.step} found it there{usual}"
    task = f"{maker.task} ({maker.executable})" if maker.executable else maker.task
    run = f", run {maker.run}" if maker.run else ""
    if maker.origin == "record":
        return f"the run itself{f': step {maker.step}' if maker.step else ''}{f' of {task}' if task else ''}{run}"
    if maker.origin == "log":
        return f"{task or 'a task'}: its log{run}"
    return f"{task or 'a task that is not recorded'}, step {maker.step}" if maker.step else task


def _when(maker: Maker) -> str:
    text = "" if maker.ended_s is None else f"{datetime.fromtimestamp(maker.ended_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return ", ".join(part for part in (text, f"run {maker.run}" if maker.run else "") if part)


def _costs(found: Explanation) -> list[tuple[str, str]]:
    """Return what a run would compute anew, and at what cost."""
    if found.no_forecast:
        return [("anew", f"unknown: {found.no_forecast}")]
    running = [task for task in found.anew if task.runs and task.why != "listed anew"]
    if found.stale and running:
        return [("anew" if not number else "", _cost(task)) for number, task in enumerate(running)]
    took = "" if found.maker.seconds is None else f"; making it took {found.maker.seconds:,.1f} s of work"
    return [("anew", f"nothing by a run; with --overwrite everything of {found.maker.task}{took}")]


def _cost(task: TaskForecast) -> str:
    cost = "of unknown length" if task.core_s is None else f"about {task.core_s / 3600:.3f} core-hours"
    gpu = f", {task.gpu_s / 3600:.3f} GPU-hours" if task.gpu_s else ""
    return f"{task.task} ({task.why}): {cost}{gpu}"
