"""`ibl-dask demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ibl_dask.cli.console import out
from ibl_dask.cli.run import run_sessions

_SESSION = Path("Subjects") / "SW_001" / "2023-05-01" / "001"


def run_demo(folder: Path, duration_s: float, workers: int | None, pose: bool = False) -> int:
    """Write a session with three cameras, run its tasks, and print the path of the report.

    Parameters
    ----------
    folder : Path
        Folder of the demonstration.
    duration_s : float
        Length of the session, s.
    workers : int or None
        Worker processes; by the machine where not given.
    pose : bool
        Whether a toy network finds keypoints of the drawn mouse; it needs the extra `pose`.
    """
    from ibl_dask.errors import UsageError
    from ibl_dask.synth.session import write_session

    session = folder.expanduser().absolute() / _SESSION
    if (session / "raw_video_data").exists():
        out.print(f"the demonstration session is there already: {session}", markup=False)
    else:
        if duration_s < 5:
            raise UsageError(
                "this session is too short to be checked", expected="--duration of 5 s or more", got=f"{duration_s:g} s"
            )
        out.print(f"writing {duration_s:g} s of three cameras to {session}", markup=False)
        clock = time.perf_counter()
        session.mkdir(parents=True, exist_ok=True)
        write_session(session, duration_s=duration_s, workers=workers or 2)
        out.print(f"written in {time.perf_counter() - clock:.0f} s")
    options = _pose_options() if pose else {}
    code = run_sessions([str(session)], None, None, None, None, workers, **options)
    out.print(f"open {session / 'ibl_dask' / 'report.html'}", markup=False)
    return code


def _pose_options() -> dict[str, Any]:  # options of tasks have many types
    """Return the options of a run with the toy network on the left camera."""
    from ibl_dask.pose.networks import Network, NetworkSet
    from ibl_dask.pose.toy import toy_engine

    engine = toy_engine()
    network = Network("toy", (engine.name,), ("left",))
    declared = NetworkSet("lightning_pose", (network,), device="cpu")
    return {"pose": ["lightning_pose"], "engines": {engine.name: engine}, "networks": {"lightning_pose": declared}}
