"""Sessions that lack something: the reference breaks off or goes on with wrong values; ours has a defined outcome."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_recordings import (
    SAMPLE_S,
    camera_file,
    ephys_session,
    folder_in,
    frames_off,
    shorten_video,
    time_by_bpod,
    time_by_daq,
    training_session,
)

from ibl_dask.model.description import Camera
from ibl_dask.qc.checks import run_checks
from ibl_dask.qc.evidence import CameraEvidence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reference import Reference

    from ibl_dask.synth.truth import Truth

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Truth]]:
    """Return one session with `frameData.bin` and one with the three older files."""
    root = tmp_path_factory.mktemp("written")
    return {
        "table": ephys_session(root / "table", surplus_start_s=0.5),
        "parts": ephys_session(root / "parts", surplus_start_s=0.5, ssv_cameras=("body",)),
    }


@pytest.fixture
def session(written: dict[str, tuple[Path, Truth]], tmp_path: Path) -> Callable[[str], tuple[Path, Truth]]:
    def copy(layout: str) -> tuple[Path, Truth]:
        source, truth = written[layout]
        shutil.copytree(source, folder_in(tmp_path))
        return folder_in(tmp_path), truth

    return copy


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: camera_file(folder, "body", name).unlink()


def empty(name: str) -> Callable[[Path], None]:
    return lambda folder: camera_file(folder, "body", name).write_bytes(b"")


def cut(name: str, n_bytes: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = camera_file(folder, "body", name)
        path.write_bytes(path.read_bytes()[:-n_bytes])

    return damage


def corrupt_line(number: int, text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = camera_file(folder, "body", "timestamps.ssv")
        lines = path.read_text().split("\n")
        lines[number] = text.format(*lines[number].split())
        path.write_text("\n".join(lines))

    return damage


@dataclass(frozen=True)
class Case:
    layout: str
    damage: Callable[[Path], None]
    theirs: str
    """What the reference raises."""
    ours: str
    """Method by which ours times every frame, or the error with which it refuses."""
    told: tuple[str, ...] = ()
    """What is in ours' notes or message."""
    hint: str = "PASS"
    """What ours makes of such times."""


CASES = {
    "pins without counter": Case("parts", remove("frame_counter.bin"), "AttributeError: 'NoneType'", "pins"),
    "empty counter": Case(
        "parts", empty("frame_counter.bin"), "AttributeError: 'NoneType'", "pins", ("frame_counter.bin is empty",)
    ),
    "pins without clock": Case("parts", remove("timestamps.ssv"), "FileNotFoundError", "pins"),
    "clock line without its second column": Case(
        "parts", corrupt_line(100, "{0}"), "ValueError", "pins", ("line 101 of the timestamps is corrupt",), "WARNING"
    ),
    "clock that is no number": Case(
        "parts", corrupt_line(100, "{0} 12x45"), "OverflowError", "pins", ("line 101 of the timestamps",), "WARNING"
    ),
    "table that ends inside a record": Case(
        "table", cut("frameData.bin", 8), "AssertionError", "pins", ("599 whole records were read",), "WARNING"
    ),
    "empty table": Case("table", empty("frameData.bin"), "IndexError", "UnusableFile", ("the file is empty",)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_camera_file_that_is_missing_or_damaged(
    reference: Reference, session: Callable[[str], tuple[Path, Truth]], name: str
) -> None:
    case = CASES[name]
    folder, truth = session(case.layout)
    case.damage(folder)
    theirs = reference.ask("daq_times", session=folder, label="body")
    assert theirs.error is not None
    assert theirs.error.startswith(case.theirs)
    ours = time_by_daq(folder, "body")
    if ours.failure:
        assert ours.failure.startswith(case.ours)
        said = ours.failure
    else:
        assert (ours.facts["method"], ours.facts["hint"]) == (case.ours, case.hint)
        np.testing.assert_allclose(ours.times, truth.cameras["body"].frame_times_s, rtol=0, atol=SAMPLE_S)
        said = ours.notes
    for part in case.told:
        assert part in said


def test_a_lost_line_of_the_clock_goes_unnoticed_in_the_reference(
    reference: Reference, session: Callable[[str], tuple[Path, Truth]]
) -> None:
    folder, truth = session("parts")
    corrupt_line(100, "")(folder)
    theirs = reference.ask("camera_files", session=folder, label="body")
    assert theirs["camera_clock"].size == truth.cameras["body"].n_frames - 1
    assert theirs.log == ()
    ours = time_by_daq(folder, "body")
    assert "line 101 of the timestamps is corrupt" in ours.notes
    np.testing.assert_allclose(ours.times, truth.cameras["body"].frame_times_s, rtol=0, atol=SAMPLE_S)


def test_missing_files_are_three_different_things_in_the_reference(
    reference: Reference, session: Callable[[str], tuple[Path, Truth]]
) -> None:
    folder, truth = session("table")
    remove("frameData.bin")(folder)
    theirs = reference.ask("camera_files", session=folder, label="body")
    assert theirs["clock_error"].startswith("FileNotFoundError")
    assert theirs["count"] is None
    assert theirs["pins"] is None
    ours = time_by_daq(folder, "body")
    assert ours.facts["method"] == "counts"
    assert "the camera left no files" in ours.notes
    np.testing.assert_allclose(ours.times, truth.cameras["body"].frame_times_s, rtol=0, atol=SAMPLE_S)


def test_files_of_different_recordings_are_used_together_in_the_reference(
    reference: Reference, data_folder: Path, tmp_path: Path
) -> None:
    """A real camera's files: pins and counter of 510 frames, a clock of 6001."""
    real = data_folder / "camera" / "session_ephys_body"
    parts = {"timestamps": "timestamps.ssv", "gpio": "GPIO.bin", "frame_counter": "frame_counter.bin"}
    camera_files = {"body": {kind: real / f"_iblrig_bodyCamera.{name}" for kind, name in parts.items()}}
    folder, _ = ephys_session(tmp_path, camera_files=camera_files)
    shorten_video(folder, "body", 510)
    theirs = reference.ask("daq_times", session=folder, label="body")
    assert (theirs["times"].size, theirs.log) == (510, ())
    ours = time_by_daq(folder, "body")
    assert ours.failure.startswith("UnequalLengths")
    assert all(number in ours.failure for number in ("6,001", "510"))


OURS = """
import json, sys
import ibl_dask as ibd
task = ibd.VideoSyncQcNidq(sys.argv[1], cameras="body")
times, _ = task.extract_camera()
print(json.dumps([times[0].size, __debug__]))
"""


def test_python_o_takes_the_reference_s_checks_away(
    reference: Reference,
    reference_without_asserts: Reference,
    session: Callable[[str], tuple[Path, Truth]],
) -> None:
    """The counter lacks the last 20 frames: the reference notices by an `assert`, which `python -O` leaves out."""
    folder, truth = session("table")
    n_frames = truth.cameras["body"].n_frames
    cut("frameData.bin", 20 * 32)(folder)
    theirs = reference.ask("daq_times", session=folder, label="body")
    assert any("fewer counts than frames" in line for line in theirs.log)
    assert theirs["times"].size == n_frames
    optimised = reference_without_asserts.ask("daq_times", session=folder, label="body")
    assert optimised["times"].size == n_frames - 20
    assert optimised.log == ()
    ours = subprocess.run(
        [sys.executable, "-O", "-c", OURS, str(folder)], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(ours.stdout) == [n_frames, False]


@pytest.mark.parametrize("label", ["right", "body", "belly"])
def test_a_camera_that_no_usual_rig_has_ends_the_reference_s_checks(reference: Reference, label: str) -> None:
    """Cameras of a training rig beside the left one, and a belly camera, have no usual settings."""
    times = np.arange(100) / 30
    video = {"length": 100, "fps": 30, "width": 640, "height": 512}
    for name in ("file_headers", "framerate", "resolution"):
        theirs = reference.ask("checks", label=label, kind="training", names=[name], video=video, timestamps=times)
        assert theirs.error == f"KeyError: '{label}'"
    evidence = CameraEvidence(Camera(label), 100, 640, 512, 30.0, times_s=times)
    results = run_checks(evidence, ("file_headers", "framerate", "resolution", "timestamps"))
    assert [result.outcome.name for result in results] == ["NOT_SET"] * 3 + ["PASS"]
    assert all("is not known" in result.message for result in results[:3])


def test_settings_with_two_versions_end_the_reference_s_times(reference: Reference, tmp_path: Path) -> None:
    """Frame times by a Bpod need no settings of the task."""
    folder, truth = training_session(tmp_path, head_s=-1, tail_s=-0.3)
    path = folder / "raw_behavior_data" / "_iblrig_taskSettings.raw.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "IBLRIG_VERSION": "6.4.1"}))
    theirs = reference.ask("bpod_times", session=folder)
    assert theirs.error == "AssertionError: version and version tag mismatch"
    assert np.abs(frames_off(time_by_bpod(folder).times, truth.camera)).max() < 0.5
