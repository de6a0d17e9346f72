"""`ibl-dask qc`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ibl_dask.cli.console import out, print_lines, print_table, print_whole, table_width
from ibl_dask.cli.guard import Sessions, known_error, printable, printable_failure
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.model.qc_record import CameraRecord
from ibl_dask.model.session import Session
from ibl_dask.report.qc_matrix import CheckedSession, failing_checks, qc_groups, qc_matrix
from ibl_dask.report.terminal import QcContent, qc_table
from ibl_dask.store.failures import failure_from
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.qc_file import require_qc


def show_qc(
    sessions: Sequence[str],
    output_root: Path | None,
    failed_only: bool = False,
    details: bool = False,
    as_json: bool = False,
) -> int:
    """Print the checks of some sessions; return 1 if one has none.

    Parameters
    ----------
    sessions : sequence of str
        Arguments of the command line; see `find_sessions`.
    output_root : Path or None
        Folder of the results, where they are not in the sessions.
    failed_only : bool
        Whether to leave out sessions without a failing check.
    details : bool
        Whether to print every check of each session, as for a single one, instead of a matrix.
    as_json : bool
        Whether to print JSON.
    """
    paths = find_sessions(sessions)
    if as_json or not (details or len(paths) == 1):
        return _show_together([_checked(path, output_root) for path in paths], failed_only, as_json)
    each = Sessions()
    for path in paths:
        with each.one():
            content = _read(Session(path, output_root))
            if not failed_only or CheckedSession("", "", content).fails:
                print_table(qc_table(content))
    return each.code


def _show_together(checked: Sequence[CheckedSession], failed_only: bool, as_json: bool) -> int:
    code = 1 if any(each.failure is not None for each in checked) else 0
    shown = [each for each in checked if each.fails or not failed_only]
    if as_json:
        content = {
            "sessions": [_plain(each) for each in shown],
            "checks": [check.to_json() for check in failing_checks(shown)],
            "reasons": [group.to_json() for group in qc_groups(shown)],
        }
        print_whole(json.dumps(content, indent=1))
    elif shown:
        table, lines = qc_matrix(shown, table_width())
        print_table(table)
        print_lines(lines)
    else:
        out.print(f"no check fails in {len(checked):,} sessions")
    return code


def _plain(checked: CheckedSession) -> dict[str, object]:
    head: dict[str, object] = {"session": checked.path, "reference": checked.session}
    if checked.failure is not None:
        return {**head, "error": checked.failure.message, "failure": checked.failure.to_json()}
    pose = {"pose": checked.content["pose"]} if checked.content.get("pose") else {}
    return {**head, "outcome": checked.outcome, "cameras": checked.content["cameras"], **pose}


def _checked(path: Path, output_root: Path | None) -> CheckedSession:
    names = printable("/".join(path.parts[-3:])), printable(path)
    try:
        return CheckedSession(*names, _read(Session(path, output_root)))
    except Exception as error:  # noqa: BLE001  # one session must not stop the others
        return CheckedSession(*names, failure=printable_failure(failure_from(known_error(error))))


def _read(session: Session) -> QcContent:
    session.look()
    content = require_qc(Workspace(session, default_work_dir(session)))
    unchecked = {camera.label for camera in session.description.cameras} - content["cameras"].keys()
    missing: CameraRecord = {"outcome": "NOT_SET", "failure": "this camera was not checked yet"}
    cameras = {**content["cameras"], **dict.fromkeys(sorted(unchecked), missing)}
    head = {"session": content["session"], "outcome": content["outcome"]}
    return {**head, "cameras": cameras, "pose": content.get("pose", {})}  # type: ignore[typeddict-item]  # of QcContent
