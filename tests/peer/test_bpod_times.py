"""Frame times by the pulses that a Bpod noted: those of the reference wherever it is right.

Real trials are compared in `tests/timing/test_bpod.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_recordings import TICK_S, Timed, frames_off, time_by_bpod, training_session

if TYPE_CHECKING:
    from pathlib import Path

    from reference import Reference

    from ibl_dask.synth.training import TrainingTruth

pytestmark = pytest.mark.peer

JITTER_S = 1e-4
"""Exposures of the synthetic camera are at most this far from where an even camera would make them."""

# The first sound comes half a second into the first trial; with pins, the camera must run by then (see row 7.9).
WITH_PINS = {
    "camera starts and stops within trials": {"head_s": -0.3, "tail_s": -0.3},
    "camera stops after the last trial": {"head_s": -0.3, "tail_s": 3.0},
    "dropped frames": {"head_s": -0.3, "tail_s": 0.6, "n_dropped": 7},
    "frames lost at the start": {"head_s": -0.3, "tail_s": -0.3, "n_lost_start": 5},
    "frames lost at the end": {"head_s": -0.3, "tail_s": -0.3, "n_lost_end": 25},
    "trials without camera pulses": {"head_s": -0.3, "tail_s": -0.3, "blind_trials": 2},
}
WITHOUT_PINS = {
    "nothing lost": {"head_s": -1, "tail_s": -0.3},
    "frames lost at the start": {"head_s": -1, "tail_s": -0.3, "n_lost_start": 40},
    "trials without camera pulses": {"head_s": -1, "tail_s": -0.3, "blind_trials": 2},
}


def assert_alike(ours: Timed, theirs: np.ndarray, truth: TrainingTruth) -> None:
    """Both agree to 1e-6 s on every pulse that both use, and are right everywhere.

    The reference leaves out a pulse whose fall came after the end of its trial and interpolates it: at most one per
    trial, and less than tick and jitter off.
    """
    noted = truth.noted_s[truth.camera.frame_exposures]
    assert ours.times.size == theirs.size == truth.camera.n_frames
    np.testing.assert_array_equal(ours.measured, np.isfinite(noted))
    np.testing.assert_allclose(ours.times[ours.measured], noted[ours.measured], rtol=0, atol=1e-6)
    apart = np.abs(theirs - ours.times)[ours.measured] > 1e-6
    assert apart.sum() <= len(truth.trial_times_s)
    within = slice(*(np.flatnonzero(ours.measured)[[0, -1]] + [0, 1]))
    np.testing.assert_allclose(theirs[within], ours.times[within], rtol=0, atol=TICK_S + JITTER_S)
    for times in (ours.times, theirs):
        assert np.abs(frames_off(times, truth.camera)).max() < 0.5


@pytest.mark.parametrize("frame_data", [False, True], ids=["three files", "frameData"])
@pytest.mark.parametrize("recording", WITH_PINS)
def test_with_pins_both_give_every_frame_the_same_time(
    reference: Reference, tmp_path: Path, recording: str, frame_data: bool
) -> None:
    folder, truth = training_session(
        tmp_path, seed=len(recording) + frame_data, frame_data=frame_data, **WITH_PINS[recording]
    )
    theirs = reference.ask("bpod_times", session=folder)
    ours = time_by_bpod(folder)
    assert ours.facts["method"] == "pins"
    assert not any("CRITICAL" in line for line in theirs.log)
    assert_alike(ours, theirs["times"], truth)


@pytest.mark.parametrize("pins", ["stuck", "none"])
@pytest.mark.parametrize("recording", WITHOUT_PINS)
def test_without_pins_both_count_alike(reference: Reference, tmp_path: Path, recording: str, pins: str) -> None:
    folder, truth = training_session(tmp_path, seed=len(recording), pins=pins, **WITHOUT_PINS[recording])
    theirs = reference.ask("bpod_times", session=folder)
    ours = time_by_bpod(folder)
    assert ours.facts["method"] == "counts"
    assert_alike(ours, theirs["times"], truth)
