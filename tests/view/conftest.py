"""A session that was run for real: three small cameras with burnt-in frame numbers, dropped frames, and keypoints."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from posed_sessions import RELATIVE, write_poses
from viewed_sessions import workspace_of

from ibl_dask.pipeline.run import run
from ibl_dask.synth.session import write_session
from ibl_dask.view.server import Listed, ViewServer
from ibl_dask.view.session_view import SessionView

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DURATION_S = 4


@pytest.fixture(scope="session")
def seen_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view") / RELATIVE
    write_session(folder, duration_s=DURATION_S, scale=0.25, gop=48, n_dropped={"left": 4})
    run([folder])
    n_frames = len(np.load(folder / "alf" / "_ibl_leftCamera.times.npy"))
    write_poses(folder, "left", n_frames=n_frames, with_times=False)
    return folder


@pytest.fixture
def view(seen_session: Path) -> Iterator[SessionView]:
    found = SessionView(workspace_of(seen_session))
    yield found
    found.close()


@pytest.fixture
def server(seen_session: Path) -> Iterator[ViewServer]:
    with ViewServer([Listed(workspace_of(seen_session))], SessionView) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()
