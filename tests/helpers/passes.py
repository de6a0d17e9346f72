"""Values of reducers, by any chunk plan."""

from ibl_dask.video.framepass import join_passes, run_pass


def values_of(path, index, chunks, reducers):
    """Return `reducer/variable` -> values, from one pass per chunk."""
    passes = [run_pass(path, index, chunk, reducers) for chunk in chunks]
    return join_passes(reducers, [(each.chunk, each.arrays) for each in passes])


def assert_same_bits(got, expected, told=None):
    """Insist that values are the same to the last bit."""
    assert got.keys() == expected.keys()
    for key, values in expected.items():
        assert got[key].tobytes() == values.tobytes(), (key, told)
