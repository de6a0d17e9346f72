"""Results of chunks: parts count by fingerprint, for one video and one chunk; files of earlier versions are read."""

from pathlib import Path

import numpy as np
import pytest

from ibl_dask.errors import CorruptOutput
from ibl_dask.model.chunk import Chunk
from ibl_dask.store.arrays import write_arrays
from ibl_dask.store.results import ChunkLayout, ChunkResult, commit_chunk, find_chunk, require_chunk

LAYOUT = ChunkLayout("numbers", 1, "the numbers", "run again", only_part="numbers")
CHUNK, VIDEO = Chunk(3, 9), {"size": 5, "index": "abc"}
WANTED = {"mean": "1" * 16, "sum": "2" * 16}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the file of a chunk with two parts."""
    path = tmp_path / "3-9.npz"
    arrays = {"mean/values": np.arange(6), "sum/values": np.ones(6), "decode_error": np.zeros(6)}
    commit_chunk(path, LAYOUT, VIDEO, CHUNK, ChunkResult(WANTED, arrays, {"n": 1}))
    return path


def test_a_result_is_found_as_it_was_committed(path):
    found = find_chunk(path, LAYOUT, VIDEO, CHUNK)
    assert found.fingerprints == WANTED
    assert found.missing(WANTED) == []
    assert found.arrays["mean/values"].tolist() == list(range(6))
    assert found.facts["n"] == 1
    assert require_chunk(path, LAYOUT, VIDEO, CHUNK, WANTED).fingerprints == WANTED


def test_a_changed_part_alone_is_missing_and_the_others_are_kept(path):
    found = find_chunk(path, LAYOUT, VIDEO, CHUNK)
    wanted = {**WANTED, "sum": "3" * 16, "third": "4" * 16}
    assert found.missing(wanted) == ["sum", "third"]
    kept = found.only({"mean"})
    assert kept.fingerprints == {"mean": "1" * 16}
    assert kept.arrays.keys() == {"mean/values"}
    with pytest.raises(CorruptOutput, match="the numbers of a chunk are gone"):
        require_chunk(path, LAYOUT, VIDEO, CHUNK, wanted)


@pytest.mark.parametrize(("video", "chunk"), [({"size": 6, "index": "abc"}, CHUNK), (VIDEO, Chunk(3, 10))])
def test_a_result_of_another_video_or_chunk_counts_as_absent(path, video, chunk):
    assert not find_chunk(path, LAYOUT, video, chunk).arrays
    with pytest.raises(CorruptOutput):
        require_chunk(path, LAYOUT, video, chunk)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04"])
def test_a_lost_or_damaged_file_counts_as_absent(path, content):
    path.unlink() if content is None else path.write_bytes(content)
    assert find_chunk(path, LAYOUT, VIDEO, CHUNK).missing(WANTED) == list(WANTED)


def test_a_file_of_an_earlier_version_counts_by_its_mark(path):
    write_arrays(path, "numbers", 1, {"data": np.arange(3)}, {"mark": "7" * 16, "reducers": {"mean": "1"}})
    found = find_chunk(path, LAYOUT, VIDEO, CHUNK)
    assert found.fingerprints == {"numbers": "7" * 16}
    assert found.facts["reducers"] == {"mean": "1"}
