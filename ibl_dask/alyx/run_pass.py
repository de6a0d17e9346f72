"""One pass over the queue: waiting rows are claimed, run, and their ends handed to the outbox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ibl_dask.alyx.queue_feed import QueueFeed
from ibl_dask.pipeline.limits import NO_LIMITS, Limits
from ibl_dask.pipeline.run import run
from ibl_dask.pipeline.run_outcome import Run
from ibl_dask.store.work_folder import WORK_FOLDER


def run_pass(
    feed: QueueFeed,
    *,
    work_dir: Path | None = None,
    limits: Limits = NO_LIMITS,
    listeners: tuple[Any, ...] = (),  # listeners of a run
    **options: Any,  # see `ibl_dask.pipeline.run.run`
) -> Run:
    """Run the rows that a feed claims, to their end.

    A row that a person set back to Waiting is tried, although it failed before and nothing has changed since.

    Parameters
    ----------
    feed : QueueFeed
        Claims rows and takes the ends of tasks.
    work_dir : Path, optional
        Folder of scratch and journal; by default `.ibl_dask` below the folder of subjects.
    limits : Limits
        Limits of the run.
    listeners : tuple
        Further listeners.
    options
        See `ibl_dask.pipeline.run.run`: client, executor, environments, ...

    Returns
    -------
    Run
        Result of the run.
    """
    try:
        return run(
            feed,
            work_dir=work_dir or feed.subjects / WORK_FOLDER,
            limits=replace(limits, retry=limits.retry | {"quarantined"}),
            listeners=[feed, *listeners],
            is_hashed=True,
            **options,
        )
    finally:
        feed.return_claims()
