"""Checks in which ours judges otherwise than the reference.

Where both agree is in `tests/qc/test_against_reference.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ibl_dask.model.description import Camera
from ibl_dask.qc.checks import run_checks
from ibl_dask.qc.evidence import CameraEvidence

if TYPE_CHECKING:
    from reference import Reference

pytestmark = pytest.mark.peer

LEFT = Camera("left", fps=60, width=1280, height=1024)


def ours(name: str, **evidence: object) -> str:
    known = {"camera": LEFT, "n_frames": 600, "width": 1280, "height": 1024, "header_fps": 60.0, **evidence}
    (result,) = run_checks(CameraEvidence(**known), (name,))
    return result.outcome.name


def theirs(reference: Reference, name: str, **data: object) -> str:
    video = {"length": 600, "fps": 60, "width": 1280, "height": 1024}
    return reference.ask("checks", label="left", kind="ephys", names=[name], **{"video": video, **data})[name][0]


def grey(n: int, value: int) -> np.ndarray:
    return np.full((n, 16, 20), value, np.uint8)


def test_an_all_white_video_fails_here_and_is_a_warning_there(reference: Reference) -> None:
    assert theirs(reference, "brightness", frame_samples=grey(100, 255)) == "WARNING"
    assert ours("brightness", sample_brightness=np.full(100, 255.0)) == "FAIL"


def test_a_video_of_few_frames_is_judged_by_those_it_has(reference: Reference) -> None:
    assert theirs(reference, "brightness", frame_samples=grey(5, 120)) == "FAIL"
    assert ours("brightness", sample_brightness=np.full(5, 120.0)) == "PASS"


def test_a_header_of_59_94_hz_passes_for_60(reference: Reference) -> None:
    video = {"length": 600, "fps": int(59.94), "width": 1280, "height": 1024}  # as the reference reads a header
    assert theirs(reference, "file_headers", video=video) == "FAIL"
    assert ours("file_headers", header_fps=59.94) == "PASS"


def test_a_clock_that_is_read_in_milliseconds_fails_60_hz_in_the_reference(reference: Reference) -> None:
    times = np.ceil(1000 * np.arange(600) / 60) / 1000
    assert theirs(reference, "framerate", timestamps=times) == "FAIL"
    assert ours("framerate", times_s=times) == "PASS"


def test_7_1_times_that_were_made_up_pass_there_and_are_a_warning_here(reference: Reference) -> None:
    """The last 100 of 600 frames are a minute apart from each other."""
    times = np.arange(600) / 60
    times[-100:] = times[499] + 60 * np.arange(1, 101)
    assert theirs(reference, "timestamps", timestamps=times) == "PASS"
    assert theirs(reference, "framerate", timestamps=times) == "PASS"
    assert ours("timestamps", times_s=times, n_not_measured=100) == "WARNING"


def test_no_times_are_critical_here_and_nothing_there(reference: Reference) -> None:
    answer = reference.ask("run_checks", label="left", frame_samples=grey(2, 100))
    assert (answer["outcome"], answer["n_checks"]) == ("NOT_SET", 0)
    assert ours("timestamps", times_s=None) == "CRITICAL"


def test_7_5_a_trial_without_sounds_counts_as_a_sound_in_the_reference(reference: Reference) -> None:
    """Placeholders of eight silent trials are counted as eight sounds that the pin missed."""
    pins = np.zeros((600, 4), bool)
    pins[100::50, 3] = True
    heard = np.arange(20.0)
    assert theirs(reference, "pin_state", pin_state=pins, audio=heard) == "PASS"
    assert theirs(reference, "pin_state", pin_state=pins, audio=np.append(heard, [np.nan] * 16)) == "WARNING"
    assert ours("pin_state", pin_state=pins[:, 3], n_ttl_rises=10) == "PASS"
