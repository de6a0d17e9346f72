"""`ibl-dask plan`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from ibl_dask.cli.console import out, show_error, told
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import IblDaskError
from ibl_dask.model.step import Resources
from ibl_dask.pipeline.forecast import CameraForecast, forecast
from ibl_dask.pipeline.plan import make_pipeline


def show_plan(
    sessions: Sequence[str],
    tasks: Sequence[str] | None,
    output_root: Path | None,
    work_dir: Path | None,
    profile: Path | None,
) -> int:
    """Print what would run; return 1 where a session cannot be planned."""
    from ibl_dask.deploy.door import read_profile
    from ibl_dask.deploy.usage import impossible_lines, pool_lines

    site = read_profile(profile)
    code = 0
    core_s = 0.0
    asked: Counter[Resources] = Counter()
    for path in find_sessions(sessions):
        try:
            pipeline = make_pipeline(path, tasks=tasks, output_root=output_root, work_dir=work_dir or site.scratch)
            pipeline.workspace.insist_on_writable()
            cameras = forecast(pipeline)
        except (IblDaskError, OSError) as error:
            show_error(told(error))
            code = 1
            continue
        out.print(f"{pipeline.session.reference}: {', '.join(pipeline.tasks)}", markup=False)
        for note in pipeline.notes:
            out.print(f"  note: {note}", markup=False)
        out.print(_table(cameras))
        for camera in cameras:
            if camera.problem:
                out.print(f"  {camera.label}: {camera.problem}", markup=False)
                code = 1
        core_s += sum(camera.core_s for camera in cameras)
        # Every task has steps; how many chunks there are is known for those that read videos.
        asked.update({task.resources: 0 for task in pipeline.tasks.values()})
        for camera in cameras:
            asked[camera.resources] += camera.n_chunks_left
    for line in pool_lines(site, asked):
        out.print(line, markup=False)
    for line in impossible_lines(site, asked):
        out.print(line, markup=False)
        code = 1
    n_workers = sum(pool.max_jobs * pool.workers_per_job for pool in site.pools if pool.kind == "CPU")
    on_workers = f"{core_s / n_workers / 3600:.2f} h on {n_workers} workers" if n_workers else "no worker for them"
    out.print(f"about {core_s / 3600:.2f} core-hours, 0 GPU-hours; {on_workers} ({site.name})")
    return code


def _table(cameras: Sequence[CameraForecast]) -> Table:
    table = Table("camera", "video", "frames", "chunks", "to decode", "why", box=None, padding=(0, 2))
    for camera in cameras:
        table.add_row(
            camera.label,
            camera.video,
            f"{camera.n_frames:,}",
            str(camera.n_chunks),
            str(camera.n_chunks_left),
            camera.why,
        )
    return table
