"""Figure of keypoints: ten panels whatever is missing, each with its data or its reason."""

from __future__ import annotations

import io
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pose_sessions import pose_content

from ibl_dask.errors import UnequalLengths
from ibl_dask.report.event_windows import lick_counts, mean_and_error, wheel_windows, windows, z_scores
from ibl_dask.report.pose_content import TRIAL_COLUMNS, PoseCamera, PoseContent, Trials, figure_frame
from ibl_dask.report.pose_figure import pose_figure, pose_figure_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHOLE = pose_content()
DATA_OF = {
    **dict.fromkeys("ABC", ("keypoints",)),
    "D": ("trials", "motion_energy", "times_s"),
    "E": ("trials", "wheel"),
    "F": ("trials", "keypoints", "times_s"),
    "G": ("trials", "keypoints", "times_s"),
    "H": ("trials", "licks_s"),
    "I": ("trials", "licks_s"),
    "J": ("trials", "pupil_smooth_px", "times_s"),
}
"""Panel -> parts without which it has nothing to draw."""


def panels(content: PoseContent) -> dict[str, Axes]:
    return dict(zip("ABCDEFGHIJ", pose_figure(content).axes, strict=True))


def reason(ax: Axes) -> str:
    """Return the reason that a panel has in place of data; empty where it has data."""
    return " ".join(" ".join(t.get_text() for t in ax.texts if t.get_color() == "#b00020").split())


def is_drawn(ax: Axes) -> bool:
    return bool(ax.lines or ax.collections or ax.images) and ax.axison


def without(content: PoseContent, part: str) -> PoseContent:
    if part in {field.name for field in fields(PoseContent)}:
        return replace(content, **{part: None})
    return replace(content, cameras=tuple(replace(camera, **{part: None}) for camera in content.cameras))


def test_with_everything_all_ten_panels_are_drawn_and_none_has_a_reason() -> None:
    for letter, ax in panels(WHOLE).items():
        assert is_drawn(ax), letter
        assert reason(ax) == "", letter
        assert letter in {text.get_text() for text in ax.texts}


@given(st.sets(st.sampled_from(["trials", "wheel", "licks_s", "keypoints", "times_s", "frame", "motion_energy",
                                "pupil_smooth_px"])))  # fmt: skip
@settings(max_examples=4)
def test_a_panel_is_lost_to_its_own_data_alone_and_states_why(missing: set[str]) -> None:
    content = WHOLE
    for part in missing:
        content = without(content, part)
    for letter, ax in panels(content).items():
        lost = bool(missing.intersection(DATA_OF[letter]))
        assert is_drawn(ax) != lost, letter
        assert bool(reason(ax)) == lost, letter
        assert ax.get_title()


def test_a_panel_that_cannot_be_drawn_leaves_the_others() -> None:
    times, _ = WHOLE.wheel
    found = panels(replace(WHOLE, wheel=(times, np.zeros(3))))
    assert "could not be drawn" in reason(found["E"])
    assert all(is_drawn(ax) for letter, ax in found.items() if letter != "E")


def test_a_reason_that_is_known_is_stated() -> None:
    content = replace(WHOLE, trials=None, cameras=(), reasons={"trials": "no task was run", "left": "no left video"})
    found = panels(content)
    assert reason(found["A"]) == "no left video"
    assert reason(found["B"]) == "no keypoints of the right camera"
    assert {reason(found[letter]) for letter in "DEFGHIJ"} == {"no task was run"}


def test_the_right_camera_stands_in_where_the_left_one_lacks_something() -> None:
    left, right, body = WHOLE.cameras
    found = panels(replace(WHOLE, cameras=(replace(left, times_s=left.times_s[:-5]), right, body)))
    assert "paw_l speed" in found["F"].get_title()
    assert "right camera" in found["G"].get_title()
    assert "right camera" in found["J"].get_title()
    assert reason(found["D"]) == "no data of the left camera"


def test_points_of_another_network_are_drawn() -> None:
    left = WHOLE.cameras[0]
    names = ("whisker_3", *left.keypoints.names[1:])
    content = replace(WHOLE, cameras=(replace(left, keypoints=replace(left.keypoints, names=names)),))
    found = panels(content)
    assert is_drawn(found["A"])
    assert "whisker_3" in {c.get_label() for c in found["A"].collections}


def test_trials_that_are_not_complete_or_too_long_are_left_out() -> None:
    trials = Trials(np.array([1, np.nan, 3, 4]), np.array([2, 3, 30, 5.0]), np.ones(4), np.array([1, 1, 1, np.nan]))
    assert trials.drawn().stim_on_s.tolist() == [1]
    found = panels(replace(WHOLE, trials=Trials(*(np.full(3, np.nan),) * 4)))
    assert {reason(found[letter]) for letter in "DEFGHIJ"} == {"none of 3 trials is complete and at most 10 s long"}
    assert Trials.from_columns({"stimOn_times": np.zeros(2)}) is None
    with pytest.raises(UnequalLengths):
        Trials.from_columns(dict(zip(TRIAL_COLUMNS, map(np.zeros, (2, 2, 2, 3)), strict=True)))


def test_7_20_every_incorrect_trial_counts() -> None:
    feedback, kinds = np.arange(5.0, 25.0, 2.0), np.array([1.0, 1, -1, -1, -1, -1, -1, -1, -1, -1])
    licks = feedback[4:] + 0.401  # in all incorrect trials but the first two
    trials = Trials(feedback - 1, feedback, np.ones(10), kinds)
    ax = panels(replace(WHOLE, trials=trials, licks_s=licks))["H"]
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert lines["incorrect trial"].max() == pytest.approx(6 / 8)
    assert lines["correct trial"].max() == 0


def test_the_image_is_a_png_of_the_size_of_the_reference_and_the_same_each_time() -> None:
    content = replace(WHOLE, cameras=())
    data = pose_figure_png(content)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (1000, 1700, 3)
    assert pose_figure_png(content) == data
    assert io.BytesIO(data).read(8) == b"\x89PNG\r\n\x1a\n"


@given(st.floats(0, 100), st.integers(3, 300), st.floats(20, 160), st.floats(-5, 110))
def test_a_window_holds_the_samples_around_its_event_and_nan_beyond_the_recording(
    start: float, n: int, rate: float, event: float
) -> None:
    times = start + np.arange(n) / rate
    offsets, rows = windows(times, times, np.array([event]))
    assert rows.shape == (1, len(offsets))
    known = ~np.isnan(rows[0])
    assert (np.abs(rows[0][known] - event - offsets[known]) <= 0.51 / rate).all()
    expected = (event + offsets >= times[0] + 1 / rate) & (event + offsets <= times[-1] - 1 / rate)
    assert known[expected].all() or event - 0.5 < times[0]


def test_licks_are_counted_in_the_bin_that_they_fall_into() -> None:
    starts, counts = lick_counts(np.array([9.51, 10.005, 10.019, 10.021, 30]), np.array([10.0, 20.0]))
    assert counts.shape == (2, 100)
    assert counts.sum(axis=1).tolist() == [4, 0]
    assert counts[0, np.isclose(starts, 0)] == 2
    assert counts[0, 0] == 1


def test_the_wheel_starts_at_zero_and_one_nan_costs_one_sample() -> None:
    times = np.arange(0, 20, 0.01)
    offsets, rows = wheel_windows(times, 3 + times, np.array([5.0, 19.9]))
    np.testing.assert_allclose(rows[0], offsets + 0.5)
    assert np.isnan(rows[1][-1])
    assert not np.isnan(rows[1][0])
    scores = z_scores(np.array([[1.0, np.nan, 3.0], [2.0, 2.0, 2.0]]))
    np.testing.assert_allclose(scores, [[-1, np.nan, 1], [0, 0, 0]])
    mean, error = mean_and_error(np.array([[1.0, np.nan], [3.0, np.nan]]))
    np.testing.assert_allclose(mean, [2, np.nan])
    assert error[0] == pytest.approx(1 / np.sqrt(2))


def test_a_short_video_has_a_frame_too() -> None:
    assert figure_frame(10, 60) == 5
    assert figure_frame(18_001, 60) == 18_000
    assert PoseContent("s", "dlc").camera("left").label == PoseCamera("left").label


ODD = st.sampled_from(["empty", "one", "two", "nan", "inf", "huge", "constant", "backwards"])


def odd(kind: str, values: np.ndarray | None) -> np.ndarray | None:
    """Return a series as nobody wants it, with as many rows or fewer."""
    if values is None:
        return None
    n = {"empty": 0, "one": 1, "two": 2}.get(kind)
    if n is not None:
        return values[:n]
    fill = {"nan": np.nan, "inf": np.inf, "huge": 1e300, "constant": 7.0}.get(kind)
    return values[::-1] if fill is None else np.full_like(values, fill)


@given(ODD, ODD, st.sets(st.sampled_from(["times_s", "motion_energy", "pupil_smooth_px", "keypoints"]), min_size=1))
@settings(max_examples=2)
def test_any_series_leaves_ten_panels(kind: str, other: str, parts: set[str]) -> None:
    def changed(camera: PoseCamera) -> PoseCamera:
        new = {part: odd(kind, getattr(camera, part)) for part in parts - {"keypoints"}}
        if "keypoints" in parts:
            new["keypoints"] = replace(camera.keypoints, values=odd(other, camera.keypoints.values))
        return replace(camera, **new)

    trials = Trials(*(odd(other, getattr(WHOLE.trials, field.name)) for field in fields(Trials)))
    content = replace(WHOLE, cameras=tuple(map(changed, WHOLE.cameras)), trials=trials)
    content = replace(content, licks_s=odd(kind, WHOLE.licks_s), wheel=tuple(odd(kind, part) for part in WHOLE.wheel))
    figure = pose_figure(content)
    for ax in figure.axes:
        assert is_drawn(ax) or reason(ax)
    figure.savefig(io.BytesIO(), format="png", dpi=8)
