"""`ibl-dask plan`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from rich.table import Column, Table

from ibl_dask.cli.console import out, print_lines, print_table, print_whole, show_failure, table_width
from ibl_dask.cli.session_plans import plan_sessions
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.model.forecast import CameraForecast, TaskForecast
from ibl_dask.model.step import Resources
from ibl_dask.pipeline.plan import check_request
from ibl_dask.report.failure_groups import FailureGroup
from ibl_dask.report.plan_matrix import PlannedSession, plan_groups, plan_matrix

_DETAILED = ("environment missing", "results elsewhere", "unusable")
"""Reasons whose details are printed in full below the table of tasks."""


def show_plan(
    sessions: Sequence[str],
    tasks: str | Sequence[str] | None,
    output_root: Path | None,
    work_dir: Path | None,
    profile: Path | None,
    overwrite: bool = False,
    as_json: bool = False,
    failed_only: bool = False,
    details: bool = False,
    **options: Any,  # options of tasks, by name
) -> int:
    """Print the forecast of `run` with the same options; return 1 if it would fail for a known reason.

    Parameters
    ----------
    sessions : sequence of str
        Arguments of the command line; see `find_sessions`.
    tasks : str or sequence of str, optional
        Names of the requested tasks; all by default.
    output_root, work_dir : Path or None
        Folders of results and of scratch.
    profile : Path or None
        Site profile.
    overwrite : bool
        Whether existing results would be replaced.
    as_json : bool
        Whether to print JSON instead of tables.
    failed_only : bool
        Whether to leave out sessions without a known failure.
    details : bool
        Whether to print every task and camera of each session, as for a single one, instead of a matrix.
    options
        Options of tasks, by name.
    """
    from ibl_dask.deploy.site.capacity import Duration, impossible_lines, pool_lines, too_long_lines
    from ibl_dask.deploy.site.schema import read_profile

    site = read_profile(profile)
    paths = find_sessions(sessions)
    options = {**site.task_options, **options}
    check_request(paths, tasks=tasks, output_root=output_root, **options)
    request = {"tasks": tasks, "output_root": output_root, "overwrite": overwrite, "skip_absent": True, **options}
    request["work_dir"] = work_dir or site.scratch
    code = 0
    found: list[dict[str, object]] = []
    everything: list[TaskForecast] = []
    sources: set[str] = set()
    asked: Counter[Resources] = Counter()
    durations: list[Duration] = []
    details = details or len(paths) == 1
    rows: list[PlannedSession] = []
    for plan in plan_sessions(paths, request):
        row = plan.row
        rows.append(row)
        everything += row.tasks
        sources |= {plan.rates_from} - {""}
        for task in row.tasks:
            if task.runs:
                resources = plan.resources[task.task]
                asked[resources] += max(1, sum(c.n_chunks_left for c in task.cameras))
                if task.step_s is not None:
                    durations.append(Duration(task.task, resources, task.step_s, task.step_source))
        code = 1 if row.fails else code
        if failed_only and not row.fails:
            continue
        if as_json:
            found.append(plan.to_json())
        elif details:
            _show(row)
    too_long, notes = too_long_lines(site, durations)
    impossible = [*impossible_lines(site, asked), *too_long]
    code = 1 if impossible else code
    n_workers = sum(pool.max_jobs * pool.workers_per_job for pool in site.pools if pool.kind == "CPU")
    totals = _totals(len(paths), everything, n_workers)
    groups = plan_groups(rows)
    if as_json:
        reasons = [group.to_json() for group in groups]
        print_whole(
            json.dumps({"sessions": found, "totals": totals, "reasons": reasons}, indent=None if len(paths) > 1 else 1)
        )
    else:
        if not details:
            _show_matrix([row for row in rows if row.fails or not failed_only], groups)
        for line in [*pool_lines(site, asked), *notes, *impossible]:
            out.print(line, markup=False)
        _show_totals(totals, site.name, sources)
    return code


class _Totals(TypedDict):
    """Sums over all sessions."""

    sessions: int
    tasks: int
    tasks_that_run: int
    core_hours: float
    gpu_hours: float
    hours: float
    """Wall time with all workers busy."""
    workers: int
    tasks_of_unknown_length: int
    read_bytes: int
    written_bytes: int


def _totals(n_sessions: int, planned: Sequence[TaskForecast], workers: int) -> _Totals:
    """Return the sums over all sessions.

    Parameters
    ----------
    n_sessions : int
        Number of sessions, those that cannot be planned included.
    planned : sequence of TaskForecast
        Tasks of all sessions.
    workers : int
        Workers of the site with CPUs.
    """
    running = [task for task in planned if task.runs]
    cameras = [camera for task in running for camera in task.cameras]
    core_s = sum(task.core_s or 0.0 for task in running)
    return {
        "sessions": n_sessions,
        "tasks": len(planned),
        "tasks_that_run": len(running),
        "core_hours": core_s / 3600,
        "gpu_hours": sum(task.gpu_s or 0.0 for task in running) / 3600,
        "hours": core_s / max(1, workers) / 3600,
        "workers": workers,
        "tasks_of_unknown_length": sum(task.core_s is None for task in running),
        "read_bytes": sum(camera.read_bytes for camera in cameras),
        "written_bytes": sum(camera.written_bytes for camera in cameras),
    }


def _show_matrix(planned: Sequence[PlannedSession], groups: Sequence[FailureGroup]) -> None:
    """Print sessions and tasks as a matrix, then the reasons for which tasks do not run."""
    if not planned:
        out.print("no session is known to fail")
        return
    table, lines = plan_matrix(planned, groups, table_width())
    print_table(table)
    print_lines(lines)


def _show(session: PlannedSession) -> None:
    """Print one session: its tasks, then the videos to decode."""
    if session.failure is not None:
        show_failure(session.session, session.failure)
        return
    planned = session.tasks
    running = [task.task for task in planned if task.runs]
    out.print(f"{session.session}: {', '.join(running) or 'nothing to do'}", markup=False)
    for note in session.notes:
        out.print(f"  note: {note}", markup=False)
    print_table(_task_table(planned))
    # Several tasks may wait for the same requirement.
    for detail in dict.fromkeys(task.detail for task in planned if task.why in _DETAILED):
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
        detail = "" if task.cameras or task.why in (*_DETAILED, "needs Alyx") else task.detail
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


def _show_totals(totals: _Totals, site: str, sources: set[str]) -> None:
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
    """Return a column of short words that are never folded."""
    return Column(name, no_wrap=True, overflow="fold")


def _folded(name: str) -> Column:
    """Return a column of text that is folded where there is no room, and never cut."""
    return Column(name, overflow="fold", min_width=8)


def _hours(task: TaskForecast) -> str:
    if task.core_s is None or task.gpu_s is None:
        return "unknown"
    return f"{task.core_s / 3600:.2f} core" + (f", {task.gpu_s / 3600:.2f} GPU" if task.gpu_s else "")
