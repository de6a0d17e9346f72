"""`ibl-dask view`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.cli.console import out
from ibl_dask.cli.guard import printable
from ibl_dask.cli.run_choice import choose_run
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.pose.posed_cameras import tracker_of
from ibl_dask.view.folder import write_view
from ibl_dask.view.server import Listed, ViewServer
from ibl_dask.view.session_view import SessionView


@dataclass(frozen=True, slots=True)
class FolderWishes:
    """The viewer as a folder."""

    target: Path | None
    """The folder; None for a server."""
    start_s: float | None
    """Start of its range on the main clock, s."""
    stop_s: float | None
    """End of its range on the main clock, s."""


def view_sessions(
    sessions: Sequence[str],
    run: str | None,
    port: int,
    folder: FolderWishes,
    width_px: int,
    estimator: str | None,
    output_root: Path | None,
    work_dir: Path | None,
) -> int:
    """Serve the viewer of some sessions until Ctrl-C, or write that of one session as a folder.

    Parameters
    ----------
    sessions : sequence of str
        Arguments of the command line; see `find_sessions`.
    run : str or None
        Name of a run, or its beginning, whose sessions are listed.
    port : int
        Port of the server; any free one for 0.
    folder : FolderWishes
        Folder to write, in place of a server.
    width_px : int
        Largest width of pictures.
    estimator : str or None
        dlc or lightning_pose.
    output_root : Path or None
        Folder of the results, where they are not in the sessions.
    work_dir : Path or None
        Work folder of the run; the nearest one where not given.
    """
    tracker = tracker_of(estimator)
    listed = _sessions(sessions, output_root) if run is None else _sessions_of_run(sessions, run, output_root, work_dir)

    def opened(workspace: Workspace) -> SessionView:
        return SessionView(workspace, tracker, width_px)

    if folder.target is not None:
        if len(listed) > 1:
            raise UsageError("--out takes one session", expected="one session", got=f"{len(listed)} sessions")
        page = write_view(opened(listed[0].workspace), folder.target, folder.start_s, folder.stop_s)
        out.print(f"open {printable(page)}", markup=False)
        return 0
    if folder.start_s is not None or folder.stop_s is not None:
        raise UsageError(
            "a range of time belongs to a folder",
            where="--from and --to",
            expected="--out beside them",
            got="no --out",
            do="add --out FOLDER, or leave the range out: the server shows all of the session",
        )
    return _serve(listed, opened, port)


def _sessions(sessions: Sequence[str], output_root: Path | None) -> list[Listed]:
    if not sessions:
        raise UsageError("there is nothing to show", expected="a session, or --run", got="neither", do="name a session")
    return [Listed(_workspace(path, output_root)) for path in find_sessions(sessions)]


def _sessions_of_run(
    sessions: Sequence[str], run: str, output_root: Path | None, work_dir: Path | None
) -> list[Listed]:
    chosen = choose_run(work_dir, run, sessions)
    rows = [row for row in chosen.summary.rows if chosen.has(row.session)]
    if not rows:
        raise UsageError("this run has no such session", where="--run", expected="sessions of the run", got="none")
    return [Listed(_workspace(Path(row.session), output_root, is_there=False), row.state) for row in rows]


def _workspace(path: Path, output_root: Path | None, *, is_there: bool = True) -> Workspace:
    session = Session(path, output_root)
    if is_there:
        session.look()
    return Workspace(session, default_work_dir(session))


def _serve(listed: Sequence[Listed], opened: Callable[[Workspace], SessionView], port: int) -> int:
    with ViewServer(listed, opened, port) as server:
        if len(listed) == 1:
            server.view(0)  # an error is one of the command, not of the page
        out.print(f"open {server.address}", markup=False, soft_wrap=True)
        out.print(f"from another machine, first: {server.tunnel}", markup=False, soft_wrap=True)
        out.print("Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0
