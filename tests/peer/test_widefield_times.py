"""Frame times and checks of a widefield session, whose cameras have a log: those of the reference where it is right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_recordings import SAMPLE_S, folder_in, frames_off, time_by_camlog

from ibl_dask.pipeline.run import run
from ibl_dask.synth import CamlogStyle, WidefieldFaults, write_widefield_session
from ibl_dask.synth.plan import NOMINAL_FPS, CameraFaults

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reference import Reference

    from ibl_dask.synth.truth import Truth

pytestmark = pytest.mark.peer

CHECKS = (
    "brightness",
    "camera_times",
    "dropped_frames",
    "file_headers",
    "framerate",
    "resolution",
    "timestamps",
)


def widefield(root: Path, cameras: Mapping[str, CameraFaults]) -> tuple[Path, Truth]:
    folder = folder_in(root)
    logs = {"body": CamlogStyle(first_id=16_696_704, origin_s=582_606.55)}
    faults = WidefieldFaults(cameras, logs)
    return folder, write_widefield_session(folder, duration_s=5, cameras=tuple(cameras), scale=0.15, faults=faults)


def test_both_give_every_frame_of_a_widefield_session_the_same_time(reference: Reference, tmp_path: Path) -> None:
    """As many pulses as frames, or one more at the end; and all checks that both have."""
    one_more = CameraFaults(surplus_end_s=1.01 / NOMINAL_FPS["left"])
    folder, truth = widefield(tmp_path, {"left": one_more, "body": CameraFaults()})
    assert truth.cameras["left"].n_surplus_end == 1
    for label, camera in truth.cameras.items():
        theirs = reference.ask("camlog_times", session=folder, label=label)["times"]
        ours = time_by_camlog(folder, label)
        assert ours.measured.all()
        assert ours.times.size == theirs.size == camera.n_frames
        np.testing.assert_allclose(ours.times, theirs, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.times, camera.frame_times_s, rtol=0, atol=SAMPLE_S)
    assert run([folder], tasks=["VideoRegisterRaw", "VideoSyncQC_nidq"]).exit_code == 0
    published = json.loads((folder / "ibl_dask" / "qc.json").read_text())["extended_qc"]
    for label in truth.cameras:
        theirs = reference.ask("session_checks", session=folder, label=label, names=CHECKS, has_log=True)
        for name in CHECKS:
            ours = published[f"_video{label.capitalize()}_{name}"]
            assert (ours if isinstance(ours, list) else [ours]) == theirs[name], (label, name)


def test_dropped_frames_shift_or_end_the_times_of_a_widefield_session_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """One frame dropped: the last pulse goes, and all frames after it are a frame early. Three: there are no times."""
    folder, truth = widefield(tmp_path, {"left": CameraFaults(n_dropped=1), "right": CameraFaults(n_dropped=3)})
    left = truth.cameras["left"]
    theirs = reference.ask("camlog_times", session=folder, label="left")["times"]
    dropped = int(np.flatnonzero(np.diff(left.frame_exposures) > 1)[0]) + 1
    np.testing.assert_allclose(frames_off(theirs, left)[dropped:], -1, atol=0.02)
    refused = reference.ask("camlog_times", session=folder, label="right").error
    assert refused is not None
    assert "dimension mismatch" in refused
    for label, camera in truth.cameras.items():
        ours = time_by_camlog(folder, label)
        np.testing.assert_allclose(ours.times, camera.frame_times_s, rtol=0, atol=SAMPLE_S)
