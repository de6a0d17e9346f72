"""The clock of the acquisition computer is set while a camera records: frame times do not depend on it."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import assert_same, results

from ibl_dask.pipeline.run import run
from ibl_dask.timing.camera.camera_clock import CYCLE_S, unwrap_cycles

PERIOD_S = 1 / 32


def leap(session, camera, seconds):
    """Set the wall clock of the second half of a recording."""
    raw = session / "raw_video_data"
    path = raw / f"_iblrig_{camera}Camera.frameData.bin"
    if path.exists():
        table = np.fromfile(path).reshape(-1, 4)
        table[len(table) // 2 :, 0] += seconds * 1e7
        table.tofile(path)
        return
    path = raw / f"_iblrig_{camera}Camera.timestamps.ssv"
    lines = path.read_text().splitlines()
    for number in range(len(lines) // 2, len(lines)):
        parts = lines[number].split()
        column = next(i for i, part in enumerate(parts) if "T" in part)
        digits = parts[column]
        moved = datetime.fromisoformat(digits[:19]) + timedelta(seconds=seconds)
        parts[column] = moved.isoformat() + digits[19:]
        lines[number] = " ".join(parts) + " "
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("seconds", [3600, -3600, -30])
def test_times_are_the_same_and_the_leap_is_told(session, undisturbed, seconds):
    for camera in ("left", "right", "body"):
        leap(session, camera, seconds)
    result = run([session])
    assert result.exit_code == 0, [f.message for f in result.sessions[0].failures]
    assert_same(results(session), undisturbed)
    for camera in ("left", "right", "body"):
        record = next(r for r in result.sessions[0].records.values() if r.key[0] == f"times-{camera}")
        assert any(f"clock leapt by {seconds:+.1f} s" in note for note in record.value["notes"]), record.value["notes"]
        assert abs(record.value["drift_ppm"]) < 100


def is_clear(seconds):
    """Return whether no pause of whole cycles of the camera's clock looks like this leap."""
    return abs(seconds) > 5 and 5 < seconds % CYCLE_S < CYCLE_S - 5


LEAPS = st.floats(-10_000, 10_000).filter(is_clear)


@settings(max_examples=60, deadline=None)
@given(
    first=st.floats(0, CYCLE_S - 1e-3),
    leaps=st.lists(st.tuples(st.integers(1, 5999), LEAPS), max_size=3, unique_by=lambda leap: leap[0]),
    pause=st.none() | st.tuples(st.integers(1, 5999), st.floats(70, 5000)),
    late=st.integers(0, 2**32 - 1),
)
def test_the_camera_s_clock_is_unwrapped_whatever_is_done_to_the_computer_s(first, leaps, pause, late):
    """Up to three leaps, a pause of the camera elsewhere, and a computer that is late by up to 0.2 s."""
    truth = np.arange(6000) * PERIOD_S
    if pause is not None and all(abs(pause[0] - frame) > 1 for frame, _ in leaps):
        truth[pause[0] :] += pause[1]
    wall = truth + np.random.default_rng(late).uniform(0, 0.2, truth.size)
    for frame, seconds in leaps:
        wall[frame:] += seconds
    notes = []
    found = unwrap_cycles((first + truth) % CYCLE_S, wall, notes)
    np.testing.assert_allclose(found, truth, atol=1e-6)
    assert sum("leapt" in note for note in notes) == len(leaps)
