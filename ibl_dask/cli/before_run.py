"""What a run will take, before it starts: refused where it will not fit, asked where it is large."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Column, Table

from ibl_dask.cli.console import out, print_table
from ibl_dask.cli.guard import printable
from ibl_dask.errors import DiskFull
from ibl_dask.model.disk_needs import DiskDemand, demands
from ibl_dask.model.sizes import format_size
from ibl_dask.pipeline.run_forecast import RunForecast, forecast_run
from ibl_dask.store.free_space import measure_spaces

if TYPE_CHECKING:
    from ibl_dask.deploy.site.profile import Profile

LARGE_CORE_HOURS = 100.0
"""Expected work from which on a person at a terminal is asked, core-hours."""
_WORTH_A_LINE_S = 60.0


def approve(
    paths: Sequence[Path],
    site: Profile,
    workers: int | None,
    *,
    yes: bool,
    **request: Any,  # see `make_pipeline`
) -> bool:
    """Print what a run will take, unless that is little, and return whether it is to start.

    Parameters
    ----------
    paths : sequence of Path
        Session folders.
    site : Profile
        The site.
    workers : int or None
        Worker processes that were asked for.
    yes : bool
        Start it in any case.
    request
        See `forecast_run`.

    Raises
    ------
    DiskFull
        If a disk has too little room, unless `yes`.
    """
    n_cpu, n_gpu = (1, 0) if workers == 0 else (_n_workers(site, "CPU"), _n_workers(site, "GPU"))
    found = forecast_run(paths, 0 if workers == 0 else site.most_workers, **request)
    on_disks = demands(found.needs, measure_spaces(need.folder for need in found.needs))
    short = [demand for demand in on_disks if demand.is_short]
    if short or found.core_s + found.gpu_s > _WORTH_A_LINE_S:
        out.print(expected_line(found, n_cpu, n_gpu, site.name), markup=False)
    if short:
        print_table(disk_table(on_disks))
        if not yes:
            raise _too_large(short[0], found)
    if yes or found.core_s < LARGE_CORE_HOURS * 3600 or not (sys.stdin.isatty() and out.is_terminal):
        return True
    return input("start it? [y/N] ").strip().lower() in ("y", "yes")


def _n_workers(site: Profile, kind: str) -> int:
    return sum(pool.max_jobs * pool.workers_per_job for pool in site.pools if pool.kind == kind)


def expected_line(found: RunForecast, n_cpu: int, n_gpu: int, site: str) -> str:
    """Return what a run will take as a line of text.

    Parameters
    ----------
    found : RunForecast
        The forecast.
    n_cpu, n_gpu : int
        Workers for steps on CPUs and on GPUs.
    site : str
        Name of the site.
    """
    wall_s = max(found.core_s / max(1, n_cpu), found.gpu_s / max(1, n_gpu))
    parts = [f"{found.core_s / 3600:,.2f} core-hours"]
    if found.gpu_s:
        parts.append(f"{found.gpu_s / 3600:,.2f} GPU-hours")
    if found.n_unknown:
        parts.append(f"{found.n_unknown:,} tasks of unknown length")
    sample = (
        f" (from {found.n_sampled:,} of {found.n_sessions:,} sessions)" if found.n_sampled < found.n_sessions else ""
    )
    if found.n_unplanned:
        sample += f"; {found.n_unplanned:,} of {found.n_sampled:,} cannot be planned, and count for nothing here"
    n = n_cpu + n_gpu
    return (
        f"estimate: {', '.join(parts)}; {wall_s / 3600:,.2f} h on {n:,} worker{'s' * (n != 1)} ({site}); "
        f"{format_size(found.n_bytes)} to write{sample}"
    )


def disk_table(on_disks: Sequence[DiskDemand]) -> Table:
    """Return a table of what is needed on each disk, and what there is."""
    names = ("results", "scratch", "journal", "needed", "free", "quota")
    numbers = [Column(name, no_wrap=True, justify="right") for name in names]
    table = Table(Column("", no_wrap=True), *numbers, Column("disk of", overflow="fold"), box=None, padding=(0, 1))
    for demand in on_disks:
        space = demand.space
        parts = [format_size(demand.needs.get(place, 0)) for place in ("results", "scratch", "journal")]
        quota = "" if space.quota_bytes is None else format_size(space.quota_bytes)
        table.add_row(
            "too little" if demand.is_short else "enough",
            *parts,
            format_size(demand.n_bytes),
            format_size(space.free_bytes),
            quota,
            printable(demand.folder),
        )
    return table


def _too_large(demand: DiskDemand, found: RunForecast) -> DiskFull:
    sample = "" if found.n_sampled == found.n_sessions else f", estimated from {found.n_sampled:,} of the sessions"
    return DiskFull(
        "the results of this run will not fit on a disk",
        where=printable(demand.folder),
        expected=f"room for about {format_size(demand.n_bytes)}{sample}",
        got=f"{format_size(demand.space.available_bytes)} ({demand.space.limit})",
        do="free some room, or give --output-root (results) or --work-dir (scratch, journal) on another disk; --yes "
        "starts all the same",
    )
