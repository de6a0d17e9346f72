"""Passes over the queue of a fake Alyx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ibl_dask.alyx.allowed import allowed_packages
from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.coordinator import Coordinator
from ibl_dask.alyx.outbox import SpoolOutbox
from ibl_dask.alyx.queue_feed import QueueFeed
from ibl_dask.alyx.repository import Place
from ibl_dask.alyx.run_pass import run_pass
from ibl_dask.alyx.task_queue import rows_of
from ibl_dask.model.status import Status

PLACE = Place("cortexlab_local", ("cortexlab",))


def one_pass(alyx: Alyx, subjects: Path, **site: Any) -> tuple[QueueFeed, SpoolOutbox]:
    """Run the waiting rows of a repository once with the options of a site, and send their results."""
    outbox = SpoolOutbox(alyx, subjects / ".ibl_dask", "cortexlab_local")
    with Coordinator(alyx, PLACE, subjects / ".ibl_dask", spooled=outbox.spooled) as coordinator:
        coordinator.sweep()
        feed = QueueFeed(
            coordinator,
            outbox,
            subjects,
            lambda: rows_of(alyx, PLACE, Status.WAITING),
            allowed_packages(),
            site=site,
        )
        run_pass(feed, **site)
        outbox.send_all()
    assert not feed.errors
    return feed, outbox
