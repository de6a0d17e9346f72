"""The per-frame store, and that nobody needs us to open it."""

from __future__ import annotations

import itertools
import json
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ibl_dask.errors import CorruptOutput, FormatTooNew
from ibl_dask.store.frames import (
    Column,
    FramesStore,
    load_dataset,
    read_column,
    read_frames,
    stored_fingerprints,
    write_frames,
)

N = 50
VIDEO = {"name": "_iblrig_leftCamera.raw.mp4", "size": 123_456, "n_frames": N, "digest": "0a1b"}
MARKS = {"brightness": "00ff", "qc_samples": "aa11"}


def store(n: int = N, offset: float = 0.0) -> FramesStore:
    rng = np.random.default_rng(0)
    brightness = rng.random(n).astype(np.float32) + np.float32(offset)
    brightness[:1] = np.nan
    return FramesStore(
        columns={
            "brightness": Column(("frame",), brightness, {"units": "1", "long_name": "mean luma"}),
            "decode_error": Column(("frame",), rng.random(n) > 0.5, {"units": "1"}),
            "time_quality": Column(("frame",), rng.integers(0, 3, n).astype(np.uint8), {"units": "1"}),
            "count": Column(("frame",), rng.integers(-5, 5, n), {"units": "1"}),
            "thumbnail": Column(("thumbnail_frame", "y", "x"), rng.integers(0, 256, (2, 3, 4)).astype(np.uint8)),
            "sample_laplacian": Column(("sample_frame", "focus_region"), rng.random((2, 3)), {"units": "1"}),
            "zeros": Column(("frame",), np.zeros(n), {"units": "px"}),
        },
        coordinates={
            "frame": Column(("frame",), np.arange(n), {"units": "1", "long_name": "frame number"}),
            "time": Column(("frame",), np.linspace(0, 1, n), {"long_name": "frame time on the main clock, s"}),
            "sample_frame": Column(("sample_frame",), np.array([1, 3]), {"units": "1"}),
        },
        fingerprints=MARKS,
        video=VIDEO,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ibl_dask" / "leftCamera-frames.zarr"
    write_frames(path, store(), "SW_001/2023-05-01/001", "left")
    return path


@pytest.mark.parametrize("chunks", [None, {}])
def test_plain_xarray_opens_it_without_any_warning(path: Path, chunks: dict[str, int] | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_zarr(path, chunks=chunks) as dataset:
            dataset.load()
    assert dict(dataset.sizes) == {
        "frame": N,
        "thumbnail_frame": 2,
        "y": 3,
        "x": 4,
        "sample_frame": 2,
        "focus_region": 3,
    }
    assert set(dataset.coords) == {"frame", "time", "sample_frame"}
    assert dataset["brightness"].attrs == {"units": "1", "long_name": "mean luma"}
    assert dataset["zeros"].attrs["units"] == "px"
    assert dataset.attrs["camera"] == "left"
    assert dataset.attrs["session"] == "SW_001/2023-05-01/001"
    for name, column in (store().columns | store().coordinates).items():
        assert dataset[name].dims == column.dims
        assert dataset[name].dtype == column.values.dtype, name
        np.testing.assert_array_equal(dataset[name].to_numpy(), column.values)


def test_frames_are_looked_up_by_number(path: Path) -> None:
    with xr.open_zarr(path, chunks=None) as dataset:
        assert float(dataset["time"].sel(frame=N - 1)) == 1.0


def test_it_is_zarr_version_3_with_one_chunk_per_array(path: Path) -> None:
    assert json.loads((path / "zarr.json").read_text())["zarr_format"] == 3
    for name, column in store().columns.items():
        meta = json.loads((path / name / "zarr.json").read_text())
        assert meta["zarr_format"] == 3
        assert tuple(meta["chunk_grid"]["configuration"]["chunk_shape"]) == column.values.shape


def test_everything_comes_back(path: Path) -> None:
    got = read_frames(path)
    assert got is not None
    assert (got.fingerprints, got.video) == (MARKS, VIDEO)
    expected = store()
    assert got.columns.keys() == expected.columns.keys()
    assert got.coordinates.keys() == expected.coordinates.keys()
    for name, column in (*expected.columns.items(), *expected.coordinates.items()):
        again = (got.columns | got.coordinates)[name]  # type: ignore[operator]
        assert again.dims == column.dims
        assert again.attributes == column.attributes
        assert again.values.dtype == column.values.dtype, name
        np.testing.assert_array_equal(again.values, column.values)


def test_video_without_frames_can_be_stored(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    empty = FramesStore({"b": Column(("frame",), np.zeros(0))}, {}, {}, {})
    write_frames(path, empty, "s", "left")
    got = read_frames(path)
    assert got is not None
    assert got.columns["b"].values.shape == (0,)


def test_store_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_frames(tmp_path / "x.zarr") is None
    assert stored_fingerprints(tmp_path / "x.zarr", VIDEO) == {}


def test_fingerprints_are_read_for_the_video_they_were_made_from(path: Path) -> None:
    assert stored_fingerprints(path, VIDEO) == MARKS
    assert stored_fingerprints(path, VIDEO | {"size": 1}) == {}
    assert stored_fingerprints(path, {}) == {}


@pytest.mark.parametrize("version", [0, 1, 3, None])
def test_other_version_is_refused_by_name_and_holds_no_fingerprints(path: Path, version: int | None) -> None:
    meta = json.loads((path / "zarr.json").read_text())
    meta["attributes"]["ibl_dask_frames_version"] = version
    (path / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(FormatTooNew, match="another layout") as caught:
        read_frames(path)
    assert caught.value.where == str(path)
    assert caught.value.got == f"version {version}"
    assert stored_fingerprints(path, VIDEO) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_damaged_store_holds_no_fingerprints(path: Path, text: str) -> None:
    (path / "zarr.json").write_text(text)
    assert stored_fingerprints(path, VIDEO) == {}


def test_a_store_is_read_between_the_two_renames_of_a_swap(path: Path) -> None:
    path.rename(path.with_name(f".{path.name}.previous"))
    assert stored_fingerprints(path, VIDEO) == MARKS
    assert read_frames(path) is not None


def test_a_store_that_is_replaced_while_it_is_read_is_the_old_one_or_the_new_one(path: Path) -> None:
    stop = threading.Event()

    def replace_on_and_on() -> None:
        for number in itertools.count(1):
            if stop.is_set():
                return
            write_frames(path, store(offset=number % 2), "SW_001/2023-05-01/001", "left")

    def offset_of(brightness: np.ndarray, frames: np.ndarray) -> int:
        assert np.array_equal(frames, np.arange(N))
        found = int(np.nanmin(brightness))
        np.testing.assert_array_equal(brightness, store(offset=found).columns["brightness"].values)
        return found

    writer = threading.Thread(target=replace_on_and_on)
    writer.start()
    try:
        seen = set()
        deadline = time.monotonic() + 60
        while len(seen) < 4 and time.monotonic() < deadline:
            whole, table, column = read_frames(path), load_dataset(path), read_column(path, "brightness", VIDEO)
            assert whole is not None
            assert table is not None
            seen.add(("store", offset_of(whole.columns["brightness"].values, whole.coordinates["frame"].values)))
            seen.add(("table", offset_of(table.brightness.values, table.frame.values)))
            assert column is not None
            offset_of(column, np.arange(N))
    finally:
        stop.set()
        writer.join()
    assert len(seen) == 4


def test_a_damaged_store_is_refused_by_name(path: Path) -> None:
    (path / "zarr.json").write_text("{")
    with pytest.raises(CorruptOutput, match="damaged"):
        read_frames(path)


@pytest.mark.parametrize("array", ["brightness", "time"])
def test_a_lost_or_altered_chunk_is_noticed_although_zarr_reads_it_as_zeros(path: Path, array: str) -> None:
    (chunk,) = [p for p in (path / array / "c").rglob("*") if p.is_file()]
    chunk.unlink()
    for read in (read_frames, load_dataset):
        with pytest.raises(CorruptOutput, match="damaged") as caught:
            read(path)
        assert array in str(caught.value)
    assert stored_fingerprints(path, VIDEO) == {}


def test_writing_again_leaves_nothing_of_the_old_store(path: Path) -> None:
    slim = FramesStore({"b": Column(("frame",), np.ones(3))}, {}, {"b": "01"}, VIDEO)
    write_frames(path, slim, "s", "left")
    got = read_frames(path)
    assert got is not None
    assert set(got.columns) == {"b"}
    assert stored_fingerprints(path, VIDEO) == {"b": "01"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_failed_writing_leaves_the_old_store(path: Path) -> None:
    crooked = FramesStore(
        {"a": Column(("frame",), np.ones(3)), "b": Column(("frame",), np.ones(4))}, {}, {"b": "01"}, VIDEO
    )
    with pytest.raises(ValueError, match="frame"):
        write_frames(path, crooked, "s", "left")
    odd = FramesStore({"a": Column(("frame",), np.array([object()]))}, {}, {}, VIDEO)
    with pytest.raises((TypeError, ValueError)):
        write_frames(path, odd, "s", "left")
    assert stored_fingerprints(path, VIDEO) == MARKS
    assert [p.name for p in path.parent.iterdir()] == [path.name]
