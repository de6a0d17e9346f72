"""Columns of a track: no extreme is lost, and nothing is drawn where nothing was measured."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.view.bins import reduce_track
from ibl_dask.view.content import Track

TIMES = st.lists(st.floats(0, 100), min_size=1, max_size=60).map(sorted)


@given(TIMES, st.data(), st.integers(1, 40))
def test_every_value_lies_within_the_column_of_its_time(times: list[float], data: st.DataObject, n: int) -> None:
    value = st.one_of(st.floats(-1e6, 1e6), st.just(np.nan))
    values = data.draw(st.lists(value, min_size=len(times), max_size=len(times)))
    low, high = sorted(data.draw(st.tuples(st.floats(0, 50), st.floats(51, 100))))
    found = reduce_track(Track("a", "line", np.array(times), np.array(values)), low, high, n)
    seen = [(time, value) for time, value in zip(times, values, strict=True) if low <= time <= high and value == value]
    edges = np.linspace(low, high, n + 1)
    for time, value in seen:
        column = min(n - 1, int(np.searchsorted(edges, time, side="right")) - 1)
        place = found["column"].index(column)
        slack = 1e-5 * abs(value) + 1e-12
        assert found["low"][place] - slack <= value <= found["high"][place] + slack
    assert bool(found["column"]) == bool(seen)
    if seen:
        extremes = (min(found["low"]), max(found["high"]))
        np.testing.assert_allclose(extremes, (min(v for _, v in seen), max(v for _, v in seen)), rtol=1e-5, atol=1e-12)


def test_a_click_on_a_column_of_pulses_leads_to_the_oddest_of_them_exactly() -> None:
    times = np.array([1.0, 1.0000001, 1.0000002, 5.0])
    found = reduce_track(Track("a", "points", times, np.array([-8.0, -30.0, -8.0, -8.0])), 0, 10, 20)
    assert found["at"] == [1.0000001, 5.0]
