"""The reference's own times of cameras with a camlog, where it is right and where it is not."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import numpy as np
import pytest
from needs import PEER

from ibl_dask.synth.clocks import DAQ_RATE_HZ, sample_on_daq
from ibl_dask.timing.alignment.camlog_route import camlog_times
from ibl_dask.timing.camera.camlog import Camlog
from ibl_dask.timing.clocks.nidq import Fronts

pytestmark = pytest.mark.peer

SCRIPT = """
import sys
from unittest import mock
import numpy as np
from ibllib.io.extractors import camera

cases, answers = np.load(sys.argv[1]), {}
for name in sorted({key.split("/")[0] for key in cases}):
    sync = {part: cases[f"{name}/{part}"] for part in ("times", "channels", "polarities")}
    extractor = camera.CameraTimestampsCamlog("left", __import__("pathlib").Path("nowhere"))
    with mock.patch.object(camera, "get_video_length", return_value=int(cases[f"{name}/n_frames"])):
        try:
            answers[name] = extractor._extract(sync=sync, chmap={"left_camera": 0})
        except AssertionError:
            answers[name] = np.empty(0)
np.savez(sys.argv[2], **answers)
"""

CASES: dict[str, dict[str, Any]] = {
    "equal numbers": {},
    "a pulse more at the end": {"after": 1},
    "a pulse fewer at the end": {"unseen_end": 1},
    "a pulse more at the start": {"before": 1},
    "a frame dropped": {"dropped": (300,)},
    "two frames dropped": {"dropped": (300, 400)},
    "twenty pulses more": {"before": 13, "after": 7},
    "a pulse missed by the sync": {"missed": (200,)},
    "a pulse missed and a frame dropped": {"missed": (200,), "dropped": (400,)},
    "begins with a fall": {"first_is_fall": True},
}


def made(
    before: int = 0,
    after: int = 0,
    dropped: tuple[int, ...] = (),
    missed: tuple[int, ...] = (),
    unseen_end: int = 0,
    first_is_fall: bool = False,
) -> tuple[np.ndarray, Fronts, Camlog]:
    """Return true times, fronts and log of a camera of 1000 frames."""
    rng = np.random.default_rng(1)
    n = before + 1000 + len(dropped) + after
    exposures = 2.5 + np.arange(n) / 60.002 + rng.normal(0, 20e-6, n)
    frames = before + np.setdiff1d(np.arange(1000 + len(dropped)), dropped)
    seen = np.delete(exposures, missed)[: n - len(missed) - unseen_end]
    rises, falls = sample_on_daq(seen), sample_on_daq(seen + 5e-3)
    if first_is_fall:
        falls = np.concatenate([[rises[0] - 4e-3], falls])[:-1]
    times = np.concatenate([rises, falls])
    polarities = np.repeat(np.array([1, -1], np.int8), [rises.size, falls.size])
    order = np.argsort(times)
    clock = np.round(exposures[frames] - exposures[frames[0]], 7)
    log = Camlog(1 + frames - frames[0], clock, np.empty((0, 3)), np.empty((0, 4)), "left.camlog")
    return exposures[frames], Fronts(times[order], polarities[order]), log


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("reference")
    content: dict[str, Any] = {}
    for name, case in CASES.items():
        truth, fronts, _ = made(**case)
        content[f"{name}/times"] = fronts.times_s
        content[f"{name}/channels"] = np.zeros(len(fronts))
        content[f"{name}/polarities"] = fronts.polarities.astype(float)
        content[f"{name}/n_frames"] = truth.size
    np.savez(folder / "cases.npz", **content)
    environment = {**os.environ, "HOME": str(folder), "MPLBACKEND": "Agg"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [PEER, "-c", SCRIPT, str(folder / "cases.npz"), str(folder / "answers.npz")],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "answers.npz") as found:
        return dict(found)


def ours(name: str) -> tuple[np.ndarray, np.ndarray]:
    truth, fronts, log = made(**CASES[name])
    return truth, camlog_times(truth.size, fronts, log, where="left camera").times_s


@pytest.mark.parametrize("name", ["equal numbers", "a pulse more at the end"])
def test_where_the_reference_is_right_the_times_are_the_same(theirs: dict[str, np.ndarray], name: str) -> None:
    truth, times = ours(name)
    assert np.abs(times - theirs[name]).max() < 1e-6
    assert np.abs(times - truth).max() <= 1 / DAQ_RATE_HZ


def test_the_frame_it_adds_at_the_median_period_is_within_a_sample(theirs: dict[str, np.ndarray]) -> None:
    _, times = ours("a pulse fewer at the end")
    off = np.abs(times - theirs["a pulse fewer at the end"])
    assert off[:-1].max() < 1e-6
    assert off[-1] <= 1 / DAQ_RATE_HZ


@pytest.mark.parametrize(
    "name", ["a pulse more at the start", "a frame dropped", "begins with a fall", "a pulse missed and a frame dropped"]
)
def test_where_it_is_wrong_by_a_frame_or_a_pulse_width_these_times_are_true(
    theirs: dict[str, np.ndarray], name: str
) -> None:
    truth, times = ours(name)
    assert np.abs(theirs[name] - truth).max() > 4e-3
    assert np.abs(times - truth).max() < 2e-4


@pytest.mark.parametrize("name", ["two frames dropped", "twenty pulses more"])
def test_where_it_refuses_these_times_are_true(theirs: dict[str, np.ndarray], name: str) -> None:
    truth, times = ours(name)
    assert not theirs[name].size
    assert np.abs(times - truth).max() <= 1 / DAQ_RATE_HZ


def test_a_pulse_missed_by_the_sync_shifts_all_that_follow_by_a_frame_there_and_none_here(
    theirs: dict[str, np.ndarray],
) -> None:
    truth, times = ours("a pulse missed by the sync")
    assert np.abs(theirs["a pulse missed by the sync"] - truth)[200:].min() > 1e-2
    assert np.abs(times - truth).max() < 2e-4
