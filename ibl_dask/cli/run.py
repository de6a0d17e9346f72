"""`ibl-dask run`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ibl_dask.cli.console import out, show_failure
from ibl_dask.cli.progress import make_view
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.pipeline.run import Run, rows, run


def run_sessions(
    sessions: Sequence[str],
    tasks: Sequence[str] | None,
    output_root: Path | None,
    work_dir: Path | None,
    profile: Path | None,
    workers: int | None,
    overwrite: bool = False,
) -> int:
    """Run sessions and say how it went; return the exit code."""
    from ibl_dask.deploy.profile import read_profile

    paths = find_sessions(sessions)
    site = read_profile(profile, workers or None)
    folder = work_dir or site.scratch
    wanted = partial(run, paths, tasks=tasks, output_root=output_root, work_dir=folder, overwrite=overwrite)
    if workers == 0:
        with make_view() as view:
            result = wanted(listeners=[view])
    else:
        from ibl_dask.deploy.local import connect, tunnel_line

        with connect(site) as client:
            out.print(f"dashboard: {client.dashboard_link}    (from elsewhere: {tunnel_line(client)})", markup=False)
            with make_view() as view:
                result = wanted(client=client, listeners=[view])
    say_how_it_went(result)
    return result.exit_code


def say_how_it_went(result: Run) -> None:
    """Print a table of sessions, every failure in full, and where the reports are."""
    from ibl_dask.report.terminal import outcome_table

    table = rows(result)
    out.print(outcome_table(table))
    for row in table:
        for failure in row["failures"]:
            show_failure(row["session"], failure)
        if row["chunks_kept"]:
            out.print(
                f"{row['session']}: {row['chunks_kept']} chunks kept from an earlier run, "
                f"{row['chunks_done']} decoded now",
                markup=False,
            )
    for row in table:
        if row["report"]:
            out.print(f"report: {row['report']}", markup=False)
    if result.interrupted:
        out.print("interrupted: run the same command again, finished chunks are kept")
    out.print(f"journal: {result.journal}", markup=False)
