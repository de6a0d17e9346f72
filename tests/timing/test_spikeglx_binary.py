"""Fronts from a SpikeGLX recording."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spikeglx_files import RATE_HZ, write_recording

from ibl_dask.errors import MissingFile, UnusableFile
from ibl_dask.timing.clocks import spikeglx_binary
from ibl_dask.timing.clocks.spikeglx_binary import read_binary_sync

pytest.importorskip("spikeglx", reason="needs the field's library: pip install 'ibl_dask[spikeglx]'")


@pytest.fixture(scope="session")
def header(data_folder):
    return data_folder / "nidq" / "sample3B_g0_t0.nidq.meta"


def fronts_of(samples_by_line):
    """Return times, channels and polarities of lines that change at some samples."""
    rows = sorted(
        (sample, line, 1 - 2 * (n % 2)) for line, samples in samples_by_line.items() for n, sample in enumerate(samples)
    )
    samples, lines, polarities = np.array(rows, np.int64).reshape(-1, 3).T
    return samples / RATE_HZ, lines, polarities


def read(path, **options):
    sync = read_binary_sync(path, path.with_suffix(".meta"), **options)
    return sync.times_s, sync.channels, sync.polarities


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


lines = st.dictionaries(
    st.integers(0, 15), st.lists(st.integers(1, 59_000), unique=True, max_size=40).map(sorted), min_size=1, max_size=5
).filter(lambda found: any(found.values()))


@settings(max_examples=25, deadline=None)
@given(lines=lines, batch_s=st.floats(0.01, 3))
def test_every_change_of_a_digital_line_is_found_whatever_the_batches(tmp_path_factory, header, lines, batch_s):
    expected = fronts_of(lines)
    path = write_recording(tmp_path_factory.mktemp("nidq"), *expected, header, duration_s=2)
    assert_same(read(path, batch_s=batch_s), expected)


def test_changes_at_the_border_of_batches_and_at_the_last_sample_are_found_once(tmp_path, header):
    size = round(0.1 * RATE_HZ)
    expected = fronts_of({0: [size - 1, size, size + 1, 2 * size], 15: [size, 2 * size, 3 * size - 1]})
    path = write_recording(tmp_path, *expected, header, duration_s=3 * size / RATE_HZ)
    assert_same(read(path, batch_s=0.1), expected)


def test_an_analogue_line_follows_the_digital_ones_and_its_offset_does_not_matter(tmp_path, header):
    expected = fronts_of({7: [100, 200], 16: [30_000, 33_000, 80_000, 84_000]})
    path = write_recording(tmp_path, *expected, header, duration_s=4)
    assert_same(read(path), expected)


def test_fronts_are_those_that_the_field_s_own_extraction_finds(tmp_path, header):
    sync = pytest.importorskip("ibldsp.sync")
    rng = np.random.default_rng(3)
    lines = {line: np.unique(rng.integers(1, 1_190_000, 2000)) for line in (0, 1, 2, 7)}
    path = write_recording(tmp_path, *fronts_of(lines), header, duration_s=40)
    theirs = sync.extract_spikeglx_sync(path, output_path=tmp_path)
    times, channels, polarities = read(path, batch_s=7)
    np.testing.assert_allclose(times, theirs["times"], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(channels, theirs["channels"])
    np.testing.assert_array_equal(polarities, theirs["polarities"])


def test_a_compressed_recording_gives_the_same_fronts(tmp_path, header):
    import spikeglx

    expected = fronts_of({0: list(range(500, 50_000, 500)), 3: [10_000, 20_000]})
    path = write_recording(tmp_path, *expected, header, duration_s=2)
    with spikeglx.Reader(path) as reader:
        compressed = reader.compress_file(keep_original=True)
    path.unlink()
    assert compressed.suffix == ".cbin"
    assert_same(read(compressed), expected)


def test_a_recording_without_header_is_refused(tmp_path, header):
    path = write_recording(tmp_path, *fronts_of({0: [10, 20]}), header)
    with pytest.raises(MissingFile, match=r"has no header.*nidq\.meta.*SyncPulses"):
        read_binary_sync(path, None)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.with_suffix(".meta").write_text("niSampRate=30003"),
        lambda path: path.with_suffix(".meta").write_text("hello"),
        lambda path: path.write_bytes(b""),
    ],
    ids=["half a header", "no header", "empty"],
)
def test_a_recording_that_cannot_be_read_is_refused(tmp_path, header, damage):
    path = write_recording(tmp_path, *fronts_of({0: [10, 20]}), header)
    damage(path)
    with pytest.raises(UnusableFile, match="the recording of the sync cannot be read"):
        read(path)


def test_without_the_library_both_ways_out_are_named(tmp_path, header, monkeypatch):
    path = write_recording(tmp_path, *fronts_of({0: [10, 20]}), header)
    monkeypatch.setattr(spikeglx_binary, "find_spec", lambda name: None)
    with pytest.raises(MissingFile) as caught:
        read(path)
    assert "SyncPulses" in caught.value.do
    assert "pip install 'ibl_dask[spikeglx]'" in caught.value.do
