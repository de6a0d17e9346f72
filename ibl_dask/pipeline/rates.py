"""Durations of earlier runs, from their summaries."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from pathlib import Path

from ibl_dask.model.forecast import Rates
from ibl_dask.store.run_summary import find_runs, read_totals

NEWEST = 5
"""Runs that are read; older ones may be of another machine."""
ENOUGH_PIXELS = 1e8
"""Pixels from which on a rate counts: in a shorter sum the start of a step prevails."""


def read_rates(work_dir: Path) -> Rates:
    """Return durations from the newest runs of a work folder; empty for work that these do not hold.

    Journals are not read, so runs of earlier versions, which have no summary, do not count.
    """
    work: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    single: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    known = (totals for run in find_runs(work_dir) if (totals := read_totals(run)) is not None)
    runs = [*islice(known, NEWEST)]
    for totals in runs:
        for sums, more in ((work, totals.work), (single, totals.single)):
            for kind, pair in more.items():
                sums[kind] = [a + b for a, b in zip(sums[kind], pair, strict=True)]
    rates = {kind: core_s / n for kind, (core_s, n) in work.items() if n >= ENOUGH_PIXELS and core_s > 0}
    means = {kind: seconds / n for kind, (n, seconds) in single.items() if n}
    source = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    return Rates(rates, means, source if rates else "constants")
