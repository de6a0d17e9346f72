"""Batches: every row once, and a full halo wherever there are frames for it."""

from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.pose.batches import batch_at, halved


@st.composite
def calls(draw):
    halo = draw(st.integers(0, 4))
    before, after = draw(st.integers(0, halo)), draw(st.integers(0, halo))
    return draw(st.integers(0, 60)) + before + after, before, after, halo, draw(st.integers(1, 20))


@given(calls())
def test_batches_give_each_row_once_with_its_halo(call):
    n_frames, before, after, halo, size = call
    n_rows, row, rows = n_frames - before - after, 0, []
    while row < n_rows:
        batch = batch_at(row, size, n_frames, before, after, halo)
        assert 0 < batch.n_rows <= size
        first, last = batch.start + batch.before, batch.stop - batch.after
        assert batch.before == min(halo, first), "less halo than there are frames"
        assert batch.after == min(halo, n_frames - last)
        rows += range(first, last)
        row += batch.n_rows
    assert rows == list(range(before, n_frames - after))


def test_a_batch_is_halved_down_to_one_frame():
    sizes = [13]
    while (smaller := halved(sizes[-1])) is not None:
        sizes.append(smaller)
    assert sizes == [13, 6, 3, 1]
