"""`ibl-dask view`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ibl_dask.cli.console import out
from ibl_dask.cli.guard import printable
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.pose.posed_cameras import tracker_of
from ibl_dask.view.session_view import SessionView


def view_sessions(
    sessions: Sequence[str],
    port: int,
    target: Path | None,
    from_s: float | None,
    to_s: float | None,
    width_px: int,
    estimator: str | None,
    output_root: Path | None,
) -> int:
    """Serve the viewer of some sessions until Ctrl-C, or write that of one session as a folder.

    Parameters
    ----------
    sessions : sequence of str
        Arguments of the command line; see `find_sessions`.
    port : int
        Port of the server; any free one for 0.
    target : Path or None
        Folder to write, in place of a server.
    from_s, to_s : float or None
        Range of time of the folder, s on the main clock.
    width_px : int
        Largest width of pictures.
    estimator : str or None
        dlc or lightning_pose.
    output_root : Path or None
        Folder of the results, where they are not in the sessions.
    """
    tracker = tracker_of(estimator)
    workspaces = []
    for path in find_sessions(sessions):
        session = Session(path, output_root)
        session.look()
        workspaces.append(Workspace(session, default_work_dir(session)))

    def opened(workspace: Workspace) -> SessionView:
        return SessionView(workspace, tracker, width_px)

    if target is not None:
        return _write(workspaces, opened(workspaces[0]), target, from_s, to_s)
    if from_s is not None or to_s is not None:
        raise UsageError(
            "a range of time belongs to a folder", "--from and --to", "--out DIR beside them", "no --out", "add --out"
        )
    return _serve(workspaces, opened, port)


def _serve(workspaces: Sequence[Workspace], opened: Callable[[Workspace], SessionView], port: int) -> int:
    from ibl_dask.view.server import Listed, ViewServer

    with ViewServer([Listed(each) for each in workspaces], opened, port) as server:
        if len(workspaces) == 1:
            server.view(0)  # an error is one of the command, not of the page
        out.print(f"open {server.address}", markup=False)
        out.print(f"from another machine, first: {server.tunnel}", markup=False)
        out.print("Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
    return 0


def _write(
    workspaces: Sequence[Workspace], view: SessionView, target: Path, from_s: float | None, to_s: float | None
) -> int:
    from ibl_dask.view.folder import write_view

    if len(workspaces) > 1:
        raise UsageError("--out takes one session", expected="one session", got=f"{len(workspaces)} sessions")
    out.print(f"open {printable(write_view(view, target, from_s, to_s))}", markup=False)
    return 0
