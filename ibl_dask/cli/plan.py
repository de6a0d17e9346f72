"""`ibl-dask plan`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from ibl_dask.cli.console import out, print_table, print_whole, show_failure
from ibl_dask.cli.guard import printable, told
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.model.forecast import CameraForecast, Rates, TaskForecast
from ibl_dask.model.step import Resources
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import OutputPlaces, Pipeline, check_request, make_pipeline
from ibl_dask.pipeline.rates import read_rates

_TOLD = ("environment missing", "results elsewhere", "unusable")
"""What is told below the table of tasks, in all its words."""


def show_plan(
    sessions: Sequence[str],
    tasks: str | Sequence[str] | None,
    output_root: Path | None,
    work_dir: Path | None,
    profile: Path | None,
    overwrite: bool = False,
    as_json: bool = False,
    **options: Any,  # options of tasks, by name
) -> int:
    """Print what `run` would do; return 1 where it would not end well for a reason that is there already."""
    from ibl_dask.deploy.site.capacity import Duration, impossible_lines, pool_lines, too_long_lines
    from ibl_dask.deploy.site.schema import read_profile

    site = read_profile(profile)
    paths = find_sessions(sessions)
    options = {"environments": site.environments, **options}
    check_request(paths, tasks=tasks, output_root=output_root, **options)
    code = 0
    found: list[dict[str, Any]] = []
    rates: dict[Path, Rates] = {}
    asked: Counter[Resources] = Counter()
    durations: list[Duration] = []
    places = OutputPlaces()
    for path in paths:
        try:
            made = make_pipeline(
                path,
                tasks=tasks,
                output_root=output_root,
                work_dir=work_dir or site.scratch,
                overwrite=overwrite,
                skip_absent=True,
                **options,
            )
            if made.specs:
                places.claim(made.session)
                made.workspace.require_writable()
            place = made.workspace.work_dir
            if place not in rates:
                rates[place] = read_rates(place)
            planned = forecast(made, rates[place])
        except Exception as error:  # noqa: BLE001  # one session must not stop the others
            wrong = told(error)
            found.append({"session": printable(path), "error": printable(wrong)})
            if not as_json:
                show_failure(printable("/".join(path.parts[-3:])), printable(wrong))
            code = 1
            continue
        found.append(_plain(made, planned))
        for task in planned:
            if task.runs:
                resources = made.tasks[task.task].resources
                asked[resources] += max(1, sum(c.n_chunks_left for c in task.cameras))
                if task.step_s is not None:
                    durations.append(Duration(task.task, resources, task.step_s, task.step_source))
        code = 1 if any(task.fails or (made.is_asked and task.waits) for task in planned) else code
        if not as_json:
            _show(made, planned)
    too_long, notes = too_long_lines(site, durations)
    impossible = [*impossible_lines(site, asked), *too_long]
    code = 1 if impossible else code
    totals = _totals(found, sum(pool.max_jobs * pool.workers_per_job for pool in site.pools if pool.kind == "CPU"))
    if as_json:
        print_whole(json.dumps({"sessions": found, "totals": totals}, indent=1))
    else:
        for line in [*pool_lines(site, asked), *notes, *impossible]:
            out.print(line, markup=False)
        _show_totals(totals, site.name, {rate.source for rate in rates.values()})
    return code


def _plain(pipeline: Pipeline, planned: Sequence[TaskForecast]) -> dict[str, Any]:
    """Return a session's plan as JSON holds it."""
    said = {"session": printable(pipeline.session.path), "reference": printable(pipeline.session.reference)}
    tasks = []
    for spec, task in zip(pipeline.specs, planned, strict=True):
        tasks.append({**task.to_json(), "parents": list(spec.parents), "executable": spec.executable})
    return {**said, "notes": list(pipeline.notes), "tasks": tasks}


def _totals(found: Sequence[dict[str, Any]], workers: int) -> dict[str, Any]:
    tasks = [task for session in found for task in session.get("tasks", ())]
    running = [task for task in tasks if task["runs"]]
    cameras = [camera for task in running for camera in task["cameras"]]
    core_s = sum(task["core_s"] or 0.0 for task in running)
    return {
        "sessions": len(found),
        "tasks": len(tasks),
        "tasks_that_run": len(running),
        "core_hours": core_s / 3600,
        "gpu_hours": sum(task["gpu_s"] or 0.0 for task in running) / 3600,
        "hours": core_s / max(1, workers) / 3600,
        "workers": workers,
        "tasks_of_unknown_length": sum(task["core_s"] is None for task in running),
        "read_bytes": sum(camera["read_bytes"] for camera in cameras),
        "written_bytes": sum(camera["written_bytes"] for camera in cameras),
    }


def _show(pipeline: Pipeline, planned: Sequence[TaskForecast]) -> None:
    """Print one session: its tasks, then what is to be decoded."""
    running = [task.task for task in planned if task.runs]
    out.print(f"{printable(pipeline.session.reference)}: {', '.join(running) or 'nothing to do'}", markup=False)
    for note in pipeline.notes:
        out.print(f"  note: {note}", markup=False)
    print_table(_task_table(planned))
    # Many tasks may wait for one thing.
    for detail in dict.fromkeys(task.detail for task in planned if task.why in _TOLD):
        out.print(f"  {detail}", markup=False)
    cameras = [(task.task, camera) for task in planned for camera in task.cameras]
    if cameras:
        print_table(_camera_table(cameras))
    for task, camera in cameras:
        if camera.why == "no input":
            out.print(f"  {task}, {camera.label}: {camera.detail}", markup=False)


def _task_table(planned: Sequence[TaskForecast]) -> Table:
    columns = (_whole("task"), _whole("runs"), _whole("why"), _whole("hours"), _folded("detail"))
    table = Table(*columns, box=None, padding=(0, 1))
    for task in planned:
        detail = "" if task.cameras or task.why in (*_TOLD, "needs Alyx") else task.detail
        table.add_row(task.task, "yes" if task.runs else "no", task.why, _hours(task) if task.runs else "", detail)
    return table


def _camera_table(cameras: Sequence[tuple[str, CameraForecast]]) -> Table:
    numbers = (Column(name, no_wrap=True, justify="right") for name in ("frames", "chunks", "to decode", "read"))
    columns = (_whole("task"), _whole("camera"), _folded("video"), *numbers, _folded("why"))
    table = Table(*columns, box=None, padding=(0, 1))
    for task, camera in cameras:
        table.add_row(
            task,
            camera.label,
            camera.video,
            f"{camera.n_frames:,}",
            str(camera.n_chunks),
            str(camera.n_chunks_left),
            f"{camera.read_bytes / 1e6:,.1f} MB",
            camera.detail or camera.why,
        )
    return table


def _show_totals(totals: dict[str, Any], site: str, sources: set[str]) -> None:
    unknown = totals["tasks_of_unknown_length"]
    more = f", and {unknown} tasks of unknown length" if unknown else ""
    out.print(
        f"about {totals['core_hours']:.2f} core-hours, {totals['gpu_hours']:.2f} GPU-hours{more}; "
        f"{totals['hours']:.2f} h on {totals['workers']} workers ({site})"
    )
    out.print(
        f"{totals['read_bytes'] / 1e9:.2f} GB of video to read, about {totals['written_bytes'] / 1e9:.2f} GB to write; "
        f"rates of video from {', '.join(sorted(sources)) or 'constants'}"
    )


def _whole(name: str) -> Column:
    """Return a column of short words that other columns make room for."""
    return Column(name, no_wrap=True, overflow="fold")


def _folded(name: str) -> Column:
    """Return a column whose words are folded where there is no room, and never cut."""
    return Column(name, overflow="fold", min_width=8)


def _hours(task: TaskForecast) -> str:
    if task.core_s is None or task.gpu_s is None:
        return "unknown"
    return f"{task.core_s / 3600:.2f} core" + (f", {task.gpu_s / 3600:.2f} GPU" if task.gpu_s else "")
