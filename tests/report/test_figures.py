import re

import numpy as np
import pytest

from ibl_dask.report import figures
from ibl_dask.report.axes import FrameAxis, Scale, lay_out_frames
from ibl_dask.report.envelope import MAX_COLUMNS, columns_covered, envelope

N_LONG = 540_000


def test_a_spike_of_one_frame_in_540000_survives_the_envelope():
    y = np.full(N_LONG, 90.0)
    y[123_457] = 255
    y[400_001] = 3
    x = np.arange(N_LONG, dtype=float)
    found = envelope(x, y, x[0], x[-1])
    assert len(found.column) <= MAX_COLUMNS
    assert found.high.max() == 255
    assert found.low.min() == 3
    assert (found.median == 90).all()
    assert found.column[found.high.argmax()] == int(123_457 / (N_LONG - 1) * MAX_COLUMNS)


def test_an_envelope_agrees_with_plain_reduction():
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 10, 5000))
    y = rng.normal(size=5000)
    y[::7] = np.nan
    found = envelope(x, y, 0.0, 10.0, 40)
    column = np.minimum((x / 10 * 40).astype(int), 39)
    for i, low, median, high in zip(found.column, found.low, found.median, found.high, strict=True):
        here = y[(column == i) & np.isfinite(y)]
        assert (low, median, high) == (here.min(), np.median(here), here.max())


@pytest.mark.parametrize("y", [np.empty(0), np.full(9, np.nan)])
def test_an_envelope_of_nothing_is_empty(y):
    assert len(envelope(np.arange(len(y), dtype=float), y, 0.0, 8.0).column) == 0


def test_columns_without_values_are_left_out():
    x = np.concatenate([np.arange(0, 100.0), np.arange(900, 1000.0)])
    found = envelope(x, x, 0.0, 1000.0, 10)
    assert found.column.tolist() == [0, 9]


def test_the_last_place_belongs_to_the_last_column():
    x = np.array([0.0, 10.0])
    assert envelope(x, x, 0.0, 10.0, 5).column.tolist() == [0, 4]


def test_spans_cover_every_column_that_they_touch():
    start, stop = np.array([0.0, 50.0, 99.9]), np.array([1.0, 75.0, 100.0])
    assert columns_covered(start, stop, 0.0, 100.0, 10).tolist() == [0, 5, 6, 7, 9]
    assert columns_covered(start[:0], stop[:0], 0.0, 100.0, 10).tolist() == []


def test_few_frames_that_follow_each_other_cover_the_whole_lane():
    at = np.arange(7.0)
    assert columns_covered(at, at + 1, 0.0, 7.0, 1000).tolist() == list(range(1000))


def test_a_spike_reaches_the_top_of_the_drawn_panel():
    y = np.full(N_LONG, 90.0)
    y[N_LONG // 2] = 200
    panel = figures.plot_series("brightness", "", figures.per_frame(y), lay_out_frames(None, N_LONG))
    assert panel is not None
    area = re.search(r'd="([^"]*)" class="area"', panel.body)
    assert area is not None
    numbers = [int(n) for n in re.findall(r"-?\d+", area[1])]
    heights = np.cumsum(numbers[1::2])
    across = np.cumsum(numbers[0::2])
    assert heights.min() < 0.1 * figures.PANEL_PX * 2
    assert across[heights.argmin()] == pytest.approx(figures.PLOT_PX, abs=4)  # the middle, at two steps a pixel
    assert "max 200 at frame 270,000" in panel.body


def test_long_panels_stay_small():
    y = np.random.default_rng(0).normal(size=N_LONG)
    panel = figures.plot_series("noise", "", figures.per_frame(y), lay_out_frames(None, N_LONG))
    assert panel is not None
    assert len(panel.body) < 40_000


@pytest.mark.parametrize(
    "times",
    [None, np.array([0.0, 1.0, np.nan, 3.0]), np.array([0.0, 2.0, 1.0, 3.0]), np.array([0.0, 1.0]), np.full(4, 2.0)],
)
def test_frames_without_good_times_lie_along_their_numbers(times):
    axis = lay_out_frames(times, 4)
    assert not axis.is_time
    assert axis.at.tolist() == [0, 1, 2, 3]


def test_the_time_axis_reads_in_minutes_and_seconds():
    axis = FrameAxis(np.linspace(10, 3700, 100), is_time=True)
    assert [text for _, text in axis.ticks()] == ["10:00", "20:00", "30:00", "40:00", "50:00", "60:00"]


@pytest.mark.parametrize(
    ("low", "high", "log"), [(0, 1, False), (83, 187, False), (-0.3, 5, False), (16, 60_000, True)]
)
def test_an_axis_has_at_least_two_values_and_all_inside(low, high, log):
    ticks = Scale(low, high, 100, log).ticks()
    assert 2 <= len(ticks) <= 9
    assert all(low <= tick <= high for tick in ticks)


def test_very_long_intervals_turn_the_scale_logarithmic():
    steps = np.full(3000, 1 / 60)
    steps[1000] = 60.0
    times = np.cumsum(steps)
    panel = figures.plot_intervals(times, lay_out_frames(times, 3000), 1 / 60)
    assert panel is not None
    assert "log scale" in panel.body


def test_intervals_are_drawn_even_where_times_go_back():
    times = np.arange(100) / 60
    times[50] = 0
    panel = figures.plot_intervals(times, lay_out_frames(times, 100), 1 / 60)
    assert panel is not None
    assert "log scale" not in panel.body
    assert figures.interval_histogram(times)


def test_long_intervals_share_the_last_bar_and_are_counted():
    steps = np.full(3000, 1 / 60)
    steps[[1000, 2000]] = 60.0, 5.0
    drawing = figures.interval_histogram(np.cumsum(steps))
    assert "2 over 66.667 ms, in the last bar" in drawing
    assert drawing.count('class="bar off"') == 1


def test_residuals_outside_the_band_are_counted_and_marked():
    axis = lay_out_frames(np.arange(1000) / 60, 1000)
    residuals = np.array([-0.001, -0.016, 0.0, 0.002, -0.02])
    panel = figures.plot_residuals(np.arange(5) * 100, residuals, axis, 1 / 60)
    assert panel is not None
    assert "2 outside the band" in panel.body
    marked = re.search(r'd="([^"]*)" class="dot off"', panel.body)
    assert marked is not None
    assert marked[1].count("M") == 2


def test_lanes_mark_a_single_frame_among_540000():
    quality = np.zeros(N_LONG, dtype=np.uint8)
    quality[77] = 1
    panel = figures.plot_lanes(quality, np.zeros(N_LONG, dtype=bool), lay_out_frames(None, N_LONG))
    assert panel is not None
    assert 'class="interpolated"' in panel.body
    assert 'class="extrapolated"' not in panel.body
    assert 'class="assumed"' not in panel.body
    quality[78] = 3
    panel = figures.plot_lanes(quality, np.zeros(N_LONG, dtype=bool), lay_out_frames(None, N_LONG))
    assert panel is not None
    assert 'class="assumed"' in panel.body
    assert "interpolated 1 ·" in panel.body


def test_a_picture_is_a_jpeg_inside_the_text():
    text = figures.picture(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert text.startswith("data:image/jpeg;base64,/9j/")


def test_titles_are_escaped():
    panel = figures.plot_series("<script>", "", figures.per_frame(np.arange(9.0)), lay_out_frames(None, 9))
    assert panel is not None
    assert "<script>" not in panel.body
