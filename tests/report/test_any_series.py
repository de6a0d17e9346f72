"""Every figure of every kind of series: a report is made whatever the numbers are."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ibl_dask.report import figures
from ibl_dask.report.axes import Scale, lay_out_frames
from ibl_dask.report.content import CameraContent, SessionContent
from ibl_dask.report.html import render_session

TINY, HUGE = 5e-324, 1.7e308
NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True),
    st.sampled_from([0.0, -0.0, TINY, -TINY, HUGE, -HUGE, np.nan, np.inf, -np.inf, 1e15, 1e15 + 0.125]),
)
SERIES = st.one_of(
    hnp.arrays(np.float64, st.integers(0, 12), elements=NUMBERS),
    st.builds(np.full, st.integers(0, 200), NUMBERS),
)
NAMED = {
    "empty": np.empty(0),
    "one point": np.array([3.5]),
    "constant": np.full(300, 93.0),
    "constant and long": np.full(1600, 93.0),
    "zero": np.zeros(300),
    "large and constant": np.full(300, 1e15),
    "large, one step of the last bit": np.r_[np.full(300, 1e15), np.nextafter(1e15, 2e15)],
    "huge on both sides": np.array([-HUGE, HUGE, 0.0]),
    "denormal": np.array([TINY, 2 * TINY, 3 * TINY]),
    "NaN": np.full(9, np.nan),
    "NaN but one": np.r_[np.full(8, np.nan), 2.0],
    "infinite": np.array([np.inf, -np.inf, np.inf]),
    "infinite but one": np.r_[np.full(8, np.inf), 2.0],
    "ends in infinity": np.r_[np.arange(9.0), np.inf],
}


def check_drawn(drawing: str) -> None:
    """Check that every number of a drawing is one, and within reach of its page."""
    for attribute in re.findall(r'(?:d|x|y|width|height|transform|viewBox)="([^"]*)"', drawing):
        assert "nan" not in attribute, attribute
        assert "inf" not in attribute, attribute
        numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", attribute)]
        assert all(abs(n) < 1e5 for n in numbers), attribute


def draw_all(times: np.ndarray, values: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        axis = lay_out_frames(times, len(values))
        panels = [
            figures.plot_series("any", "", figures.per_frame(values), axis),
            figures.plot_series("any", "", figures.per_frame(values), axis, least_span=4),
            figures.plot_intervals(times, axis, 1 / 60),
            figures.plot_intervals(times, axis, None),
            figures.plot_residuals(np.arange(len(values)), values, axis, 1 / 60),
            figures.plot_residuals(np.arange(len(values)), values, axis, None),
            figures.plot_lanes(np.zeros(len(times), np.uint8), np.isnan(values), axis),
        ]
        check_drawn(figures.stack(panels, axis, "any"))
        check_drawn(figures.interval_histogram(times))


PLAIN = np.arange(700) / 60


@pytest.mark.parametrize("name", NAMED)
def test_a_series_of_any_kind_is_drawn_over_times_of_any_kind(name):
    draw_all(NAMED[name], PLAIN)
    draw_all(PLAIN, NAMED[name])
    draw_all(NAMED[name], NAMED[name])


@settings(max_examples=50)
@given(SERIES, SERIES)
@example(np.array([0.0, TINY]), np.array([HUGE, -HUGE]))
def test_no_numbers_end_a_figure(times, values):
    draw_all(times, values)


@settings(max_examples=40)
@given(SERIES)
def test_times_that_rise_by_any_steps_are_drawn(steps):
    with np.errstate(all="ignore"):
        times = np.sort(np.cumsum(np.abs(steps)))
    draw_all(times, np.arange(len(times), dtype=float))


@given(NUMBERS, NUMBERS, st.booleans())
def test_an_axis_of_any_range_has_values_in_order_and_few(a, b, log):
    low, high = figures.range_of(np.array([a, b]), log=log and min(a, b) > 0)
    assert np.isfinite([low, high]).all()
    assert low < high
    scale = Scale(low, high, 100, log and min(a, b) > 0)
    ticks = scale.ticks()
    assert len(ticks) <= 20
    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= high for tick in ticks)
    labels = figures.label_values(ticks)
    assert len(set(labels)) == len(labels)
    assert 0 <= scale.place_one(a if np.isfinite(a) else low) <= 100


@pytest.mark.parametrize("values", NAMED)
def test_a_whole_report_of_such_a_camera_says_that_every_figure_was_drawn(values):
    found = NAMED[values]
    camera = CameraContent(
        "left",
        {"outcome": "PASS", "checks": {}},
        timing={"method": "pins", "period_s": 1 / 60},
        times_s=found,
        time_quality=np.zeros(len(found), np.uint8),
        residual_frames=np.arange(len(found)),
        residuals_s=found,
        brightness=found.astype(np.float64),
        sharpness_frames=np.arange(len(found)),
        sharpness=found,
        motion_energy={"wheel": found},
    )
    page = render_session(SessionContent("a/2020-01-01/001", "/s", "/s", "PASS", (camera,)))
    assert "Not drawn" not in page
    assert "nan" not in "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL)).replace("data:", "")
