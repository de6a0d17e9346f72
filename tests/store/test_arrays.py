"""Our own array files: round trip, and refusal of what is not one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ibl_dask.errors import CorruptOutput, FormatTooNew, NotWritable
from ibl_dask.store.arrays import read_arrays, write_arrays

DTYPES = st.sampled_from(["f8", "f4", "i8", "i4", "u1", "i1", "?", "u2", ">i4"])
ARRAYS = st.dictionaries(
    st.from_regex(r"\A[a-z_]{1,8}(/[a-z]{1,5})?\Z").filter(lambda name: name != "file"),
    DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))),
    max_size=4,
)
FACTS = st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text(max_size=5) | st.lists(st.booleans()))


@given(ARRAYS, FACTS)
def test_arrays_and_facts_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, arrays, facts) -> None:
    path = tmp_path_factory.getbasetemp() / "round.npz"
    write_arrays(path, "chunk", 3, arrays, facts)
    got, got_facts = read_arrays(path, "chunk", 3)
    assert got_facts == facts
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.npz"
    write_arrays(path, "chunk", 2, {"x": np.arange(20), "y": np.ones((2, 3), bool)}, {"n": [1, 2]})
    return path


def test_numpy_reads_the_file_without_us(path: Path) -> None:
    with np.load(path, allow_pickle=False) as content:
        assert content["x"].tolist() == list(range(20))


def test_missing_file_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "a.npz", "chunk", 1)


def test_file_of_another_kind_is_refused_by_name(path: Path) -> None:
    with pytest.raises(CorruptOutput, match="another kind") as caught:
        read_arrays(path, "index", 2)
    assert (caught.value.where, caught.value.expected, caught.value.got) == (str(path), "index", "chunk")


@pytest.mark.parametrize("version", [1, 3])
def test_other_version_is_refused_by_name(path: Path, version: int) -> None:
    with pytest.raises(FormatTooNew, match="chunk file has another layout") as caught:
        read_arrays(path, "chunk", version)
    assert (caught.value.expected, caught.value.got) == (f"version {version}", "version 2")
    assert "--overwrite" in caught.value.do


@pytest.mark.parametrize("data", [b"", b"hello", bytes(1000), b"PK\x03\x04", b"\x93NUMPY"])
def test_something_else_under_that_name_is_damaged(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(CorruptOutput, match="damaged") as caught:
        read_arrays(tmp_path / "a.npz", "chunk", 1)
    assert caught.value.where == str(tmp_path / "a.npz")
    assert "run again" in caught.value.do


def test_single_array_and_foreign_archive_are_damaged(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(CorruptOutput):
        read_arrays(tmp_path / "a.npz", "chunk", 1)
    np.savez(tmp_path / "b.npz", x=np.arange(3))
    with pytest.raises(CorruptOutput):
        read_arrays(tmp_path / "b.npz", "chunk", 1)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"facts.json": np.array([print], object)})
    with pytest.raises(CorruptOutput):
        read_arrays(tmp_path / "a.npz", "chunk", 1)


def test_any_flipped_bit_or_cut_is_noticed_or_without_effect(path: Path) -> None:
    whole = path.read_bytes()
    arrays, facts = read_arrays(path, "chunk", 2)
    n_refused = 0
    cuts = [whole[:n] for n in range(0, len(whole), 7)]
    flips = [whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :] for i in range(len(whole))]
    for damaged in cuts + flips:
        path.write_bytes(damaged)
        try:
            got, got_facts = read_arrays(path, "chunk", 2)
        except CorruptOutput:
            n_refused += 1
        else:
            assert got_facts == facts
            assert all(np.array_equal(got[name], arrays[name]) for name in arrays)
    assert n_refused > len(cuts) + len(flips) // 2


def test_full_disk_says_so_and_keeps_the_old_file(path: Path, full_disk: None) -> None:
    before = path.read_bytes()
    with pytest.raises(NotWritable, match="the disk is full"):
        write_arrays(path, "chunk", 2, {"x": np.zeros(100_000)}, {})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
