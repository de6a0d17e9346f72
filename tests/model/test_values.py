"""Chunks, regions and outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one.alf.spec import QC

from ibl_dask.errors import UsageError
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.outcome import Outcome
from ibl_dask.model.region import Region


@given(st.integers(-5, 20), st.integers(-5, 20))
def test_chunk_holds_at_least_one_frame_from_frame_0_on(start: int, stop: int) -> None:
    if 0 <= start < stop:
        assert len(Chunk(start, stop)) == stop - start
    else:
        with pytest.raises(ValueError, match=r"0 <= start < stop"):
            Chunk(start, stop)


def test_chunks_sort_as_they_follow_one_another() -> None:
    chunks = [Chunk(20, 30), Chunk(0, 10), Chunk(10, 20)]
    assert [c.start for c in sorted(chunks)] == [0, 10, 20]


SIDE = st.integers(1, 1500)


@st.composite
def scaled_regions(draw: st.DrawFn) -> tuple[Region, int, int, int, int]:
    nominal_height, nominal_width = draw(SIDE), draw(SIDE)
    top, left = draw(st.integers(0, nominal_height - 1)), draw(st.integers(0, nominal_width - 1))
    region = Region(
        top,
        draw(st.integers(top + 1, nominal_height)),
        left,
        draw(st.integers(left + 1, nominal_width)),
    )
    return region, draw(SIDE), draw(SIDE), nominal_width, nominal_height


@given(scaled_regions())
def test_scaled_region_stays_inside_the_frame_and_keeps_a_pixel(case: tuple[Region, int, int, int, int]) -> None:
    region, width, height, nominal_width, nominal_height = case
    scaled = region.scaled(width, height, nominal_width, nominal_height)
    assert 0 <= scaled.top < scaled.bottom <= height
    assert 0 <= scaled.left < scaled.right <= width
    assert scaled.n_pixels >= 1


@given(scaled_regions())
def test_region_of_the_nominal_frame_is_itself(case: tuple[Region, int, int, int, int]) -> None:
    region, _, _, nominal_width, nominal_height = case
    assert region.scaled(nominal_width, nominal_height, nominal_width, nominal_height) == region


@given(scaled_regions())
def test_scaled_edges_are_within_a_pixel_of_the_exact_ones(case: tuple[Region, int, int, int, int]) -> None:
    region, width, height, nominal_width, nominal_height = case
    scaled = region.scaled(width, height, nominal_width, nominal_height)
    assert abs(scaled.top - region.top * height / nominal_height) <= 1
    assert abs(scaled.bottom - region.bottom * height / nominal_height) <= 1
    assert abs(scaled.left - region.left * width / nominal_width) <= 1
    assert abs(scaled.right - region.right * width / nominal_width) <= 1


def test_region_is_a_view_of_rows_and_columns() -> None:
    image = np.arange(30).reshape(5, 6)
    region = Region(1, 3, 2, 6)
    assert region.of(image).tolist() == [[8, 9, 10, 11], [14, 15, 16, 17]]
    assert region.of(image).size == region.n_pixels
    assert np.shares_memory(region.of(image), image)


@pytest.mark.parametrize("edges", [(0, 0, 0, 1), (2, 1, 0, 1), (-1, 1, 0, 1), (0, 1, 3, 3), (0, 1, -2, 3)])
def test_region_without_a_pixel_is_refused(edges: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError, match="at least one pixel"):
        Region(*edges)


def test_outcomes_have_the_names_and_values_of_the_field() -> None:
    assert {o.name: o.value for o in Outcome} == {q.name: q.value for q in QC}


@given(st.lists(st.sampled_from(list(Outcome))))
def test_worst_is_the_one_nothing_is_worse_than(outcomes: list[Outcome]) -> None:
    order = ["NOT_SET", "PASS", "WARNING", "FAIL", "CRITICAL"]
    expected = max((order.index(o.name) for o in outcomes), default=0)
    assert Outcome.worst(iter(outcomes)).name == order[expected]
