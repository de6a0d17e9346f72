"""`ibl-dask alyx sync`."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.credentials import read_access
from ibl_dask.alyx.registrar import Registration
from ibl_dask.alyx.repository import VARIABLE, find_place
from ibl_dask.alyx.session_results import add_session
from ibl_dask.alyx.spool import SPOOL_FOLDER, Spool
from ibl_dask.alyx.sync import SyncReport, Writer
from ibl_dask.cli.console import out
from ibl_dask.cli.guard import Sessions, printable
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.store.work_folder import nearest_work_folder
from ibl_dask.store.workspace import Workspace, default_work_dir

MOST_ROWS = 40
"""Results that are listed; `--json` has all."""


def sync_results(
    sessions: Sequence[str],
    url: str,
    user: str,
    token_file: Path | None,
    registration: Registration,
    work_dir: Path | None,
    output_root: Path | None,
    *,
    again: bool = False,
    waiting: bool = False,
    as_json: bool = False,
) -> int:
    """Send the results of a spool to Alyx; return 1 if some are left or were refused.

    Parameters
    ----------
    sessions : sequence of str
        Sessions that ran without Alyx, whose results are written into the spool first.
    url, user, token_file
        Access, see `read_access`.
    registration : Registration
        Repository at which files are registered; an empty name stands for that of this machine.
    work_dir, output_root : Path or None
        Folder of the spool, and of results.
    again : bool
        Send refused results as well.
    waiting : bool
        List the results in the spool, and send nothing.
    as_json : bool
        Print JSON.
    """
    guard = Sessions()
    spools: dict[Path, Spool] = {}
    for path in find_sessions(sessions) if sessions else ():
        with guard.one():
            session = Session(path, output_root)
            workspace = Workspace(session, work_dir or default_work_dir(session))
            spool = spools.setdefault(workspace.work_dir, Spool(workspace.work_dir / SPOOL_FOLDER))
            n_new, n_all = add_session(spool, workspace)
            if not as_json:
                out.print(printable(f"{session.reference}: {n_new} of {n_all} results are new"), markup=False)
    if not spools and not sessions:
        folder = work_dir or nearest_work_folder()
        spools[folder] = Spool(folder / SPOOL_FOLDER)
    if waiting:
        return _list(list(spools.values()), as_json=as_json)
    code = guard.code
    if not any(spool.n_pending() or spool.dead() for spool in spools.values()):
        for spool in spools.values():
            if as_json:
                _print_report(spool, SyncReport(), as_json=True)
            else:
                out.print(f"no results wait in {spool.folder}", markup=False)
        return code
    alyx = Alyx(read_access(url, user, token_file))
    place = find_place(alyx, registration.repository or None)
    if place.repository is None:
        raise UsageError(
            "the data repository is not named",
            expected=f"--repository, or the variable {VARIABLE}",
            got="neither",
            do="name the repository that holds the files of this machine, as Alyx lists it under /data-repository",
        )
    registration = replace(registration, repository=place.repository)
    for spool in spools.values():
        if again:
            spool.revive()
        report = _send_all(Writer(spool, alyx, registration))
        code = max(code, int(bool(report.n_left or report.n_dead or spool.dead())))
        _print_report(spool, report, as_json=as_json)
    return code


def _send_all(writer: Writer) -> SyncReport:
    """Send until nothing is left, or nothing goes on; a signal ends it after the session at hand."""
    is_over = threading.Event()
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: is_over.set()) if is_main else None
    total = SyncReport()
    try:
        while not is_over.is_set():
            report = writer.run(lambda: not is_over.is_set())
            total = SyncReport(
                total.n_sent + report.n_sent,
                report.n_left,
                total.n_dead + report.n_dead,
                total.n_requests + report.n_requests,
                report.retry_in_s,
                report.problems,
            )
            if not report.n_sent or not report.n_left:
                break
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)
    return total


def _print_report(spool: Spool, report: SyncReport, *, as_json: bool) -> None:
    dead = spool.dead()
    if as_json:
        out.print_json(json.dumps({**asdict(report), "spool": str(spool.folder), "refused": _plain(spool)}))
        return
    out.print(f"{report.n_sent} sent, {report.n_left} left, {len(dead)} refused, {report.n_requests} requests")
    for problem in report.problems[:MOST_ROWS]:
        out.print(printable(problem), markup=False)
    if report.n_left:
        wait = f" in {report.retry_in_s:.0f} s" if report.retry_in_s else ""
        out.print(f"send the others{wait}: ibl-dask alyx sync --work-dir {spool.folder.parent}", markup=False)
    if dead:
        out.print(f"refused results are in {spool.folder / 'dead'}; --again sends them again", markup=False)


def _list(spools: Sequence[Spool], *, as_json: bool) -> int:
    if as_json:
        rows = [{"spool": str(s.folder), "waiting": _waiting(s), "refused": _plain(s)} for s in spools]
        out.print_json(json.dumps(rows))
        return 0
    for spool in spools:
        waiting, dead = _waiting(spool), spool.dead()
        out.print(f"{spool.folder}: {len(waiting)} waiting, {len(dead)} refused", markup=False)
        for row in waiting[:MOST_ROWS]:
            out.print(printable(f"  {row['session']}  {row['task']}  {row['status']}"), markup=False)
        for each in dead[:MOST_ROWS]:
            out.print(printable(f"  refused: {each.session}  {each.task}  {each.reason}"), markup=False)
    return 0


def _waiting(spool: Spool) -> list[dict[str, str]]:
    results = (letter.result for letter in spool.pending())
    return [{"session": each.session, "task": each.task, "status": each.status} for each in results]


def _plain(spool: Spool) -> list[dict[str, str]]:
    return [{"session": each.session, "task": each.task, "reason": each.reason} for each in spool.dead()]
