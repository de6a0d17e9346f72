"""Content of the report of a run: its summary, and what the results of its sessions add."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.report.check_rows import severity
from ibl_dask.report.cohort import CohortContent, CohortSession
from ibl_dask.report.figures import picture
from ibl_dask.report.quantities import format_count, format_duration
from ibl_dask.report.session_rows import SessionRow, needs_someone
from ibl_dask.report.status_view import session_row
from ibl_dask.store.run_folder import RunFolder
from ibl_dask.store.run_summary import RunSummary, read_summary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_PICTURES = 150
"""Pictures on the page, of cameras that need someone: each is about 2 kB."""
_PICTURE_PX = 144
"""Width of a picture, px."""


def cohort_content(run: RunFolder, rows: Iterable[SessionRow] | None = None) -> CohortContent:
    """Return the content of the report of a run.

    Parameters
    ----------
    run : RunFolder
        The run.
    rows : iterable of SessionRow, optional
        Its sessions as the driver has them; as in its summary where not given.

    Raises
    ------
    OSError
        If neither rows are given nor a journal can be read.
    """
    try:
        summary = read_summary(run)
    except OSError:
        if rows is None:
            raise
        return CohortContent(run.name, (), [CohortSession(row) for row in rows])
    progress = {each.session: each for each in summary.rows}
    given = [session_row(each) for each in progress.values()] if rows is None else list(rows)
    pictures = _pictures(given)
    sessions = []
    for row in given:
        known = progress.get(str(row.get("path", "")))
        own = _own_folder(row)
        sessions.append(
            CohortSession(
                row=row,
                ended_s=known.ended_s if known else 0.0,
                seconds=known.ended_s - known.started_s if known and known.ended_s and known.started_s else None,
                core_s=known.seconds if known else 0.0,
                failing=_failing_checks(own, row.get("qc") or {}),
                thumbnails=pictures.get(str(row.get("path", "")), {}),
            )
        )
    return CohortContent(
        name=run.name,
        facts=_facts(summary),
        sessions=sessions,
        started_s=summary.header.started_s,
        kinds={kind: (int(n), seconds) for kind, (n, seconds) in summary.totals.spent.items()},
    )


def _facts(summary: RunSummary) -> tuple[tuple[str, str], ...]:
    header, totals, end = summary.header, summary.totals, summary.found.progress.end
    work = [(f"{kind} work", f"{seconds / 3600:,.2f} h") for kind, (seconds, _) in sorted(totals.work.items())]
    facts = [
        ("state", summary.state.text),
        ("wall time", format_duration(end.seconds) if end is not None else "not ended"),
        ("core-hours", f"{totals.seconds / 3600:,.2f}"),
        ("GPU-hours", f"{totals.gpu_s / 3600:,.2f}" if totals.gpu_s else ""),
        *work,
        (f"energy of the processors of {header.host}", _energy(summary)),
        ("energy of GPUs in steps", f"{totals.gpu_j / 3.6e6:,.3g} kWh" if totals.gpu_j else ""),
        ("steps", format_count(totals.n_steps)),
        ("attempts made again", format_count(totals.retries)),
        ("workers at the start", format_count(header.n_workers) if header.n_workers else "none"),
        ("host", header.host),
        ("ibl_dask", header.version),
        ("journal", str(summary.run.path)),
    ]
    return tuple((name, text) for name, text in facts if text)


def _energy(summary: RunSummary) -> str:
    """Return what the machine of the driver took, with all that ran there; empty where no counter could be read."""
    energy_j = None if summary.beat is None else summary.beat.figures.get("energy_j")
    return "" if energy_j is None else f"{float(energy_j) / 3.6e6:,.3g} kWh"


def _own_folder(row: SessionRow) -> Path | None:
    """Return the folder of the files of this package for a session; None where it has no report."""
    report = str(row.get("report") or "")
    return Path(report).parent if report else None


def _failing_checks(own: Path | None, outcomes: Mapping[str, str]) -> dict[str, Sequence[str]]:
    """Return the checks that are worse than PASS, by camera; none where their record cannot be read."""
    if own is None or all(str(outcome) == "PASS" for outcome in outcomes.values()):
        return {}
    try:
        cameras = json.loads((own / "qc.json").read_bytes())["cameras"]
        return {label: _worse_than_pass(cameras[label].get("checks") or {}) for label in outcomes if label in cameras}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _worse_than_pass(checks: Mapping[str, Mapping[str, object]]) -> list[str]:
    bad = [(severity(content.get("outcome")), name) for name, content in checks.items()]
    return [name for rank, name in sorted(bad) if rank < severity("NOT_SET")]


def _pictures(rows: Iterable[SessionRow]) -> dict[str, dict[str, str]]:
    """Return small pictures of cameras whose checks are worse than PASS, the worst first: session -> camera -> URI."""
    wanted = [
        (not needs_someone(row), severity(outcome), str(row.get("path", "")), camera, own)
        for row in rows
        if (own := _own_folder(row)) is not None
        for camera, outcome in (row.get("qc") or {}).items()
        if severity(outcome) < severity("NOT_SET")
    ]
    found: dict[str, dict[str, str]] = {}
    for *_, path, camera, own in sorted(wanted, key=lambda each: each[:4])[:MOST_PICTURES]:
        luma = _thumbnail(own / f"{camera}Camera-frames.zarr")
        if luma is not None:
            found.setdefault(path, {})[camera] = picture(luma)
    return found


def _thumbnail(store: Path) -> NDArray[np.uint8] | None:
    """Return a frame of the middle of a video, (y, x), small; None where the store has none."""
    import numpy as np
    import zarr

    try:
        frames = zarr.open_array(store / "thumbnail", mode="r")
        luma = np.asarray(frames[frames.shape[0] // 2], np.uint8)
    except (OSError, ValueError, KeyError, IndexError):
        return None
    step = max(1, luma.shape[1] // _PICTURE_PX)
    return np.ascontiguousarray(luma[::step, ::step])
