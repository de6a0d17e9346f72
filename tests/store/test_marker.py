"""A marker counts for one fingerprint, and while its outputs are what they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ibl_dask.store.atomic import writing_folder
from ibl_dask.store.marker import read_marker, write_marker

VALUE = {"n_frames": 12, "notes": ["a"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder in which a step left a file and a folder, and its marker."""
    root = tmp_path / "session"
    (root / "alf").mkdir(parents=True)
    (root / "alf" / "a.npy").write_bytes(b"12345")
    with writing_folder(root / "x.zarr") as folder:
        (folder / "zarr.json").write_text("{}")
    write_marker(root / "done" / "times.json", "abc", root, [root / "alf" / "a.npy", root / "x.zarr"], VALUE)
    return root


def read(root: Path, fingerprint: str = "abc"):
    return read_marker(root / "done" / "times.json", fingerprint, root)


def test_marker_gives_back_what_the_step_returned(root: Path) -> None:
    assert read(root) == VALUE


def test_marker_counts_wherever_the_session_is_moved(root: Path, tmp_path: Path) -> None:
    moved = root.rename(tmp_path / "moved")
    assert read(moved) == VALUE


def test_no_marker_is_not_done(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    (tmp_path / "done").write_text("a file")
    assert read(tmp_path) is None


def test_other_fingerprint_is_not_done(root: Path) -> None:
    assert read(root, "abd") is None


@pytest.mark.parametrize("gone", ["alf/a.npy", "x.zarr"])
def test_missing_output_is_not_done(root: Path, tmp_path: Path, gone: str) -> None:
    (root / gone).rename(tmp_path / "gone")
    assert read(root) is None


@pytest.mark.parametrize("data", [b"", b"1234", b"123456"])
def test_output_of_another_size_is_not_done(root: Path, data: bytes) -> None:
    (root / "alf" / "a.npy").write_bytes(data)
    assert read(root) is None


def test_folder_where_a_file_was_is_not_done(root: Path) -> None:
    (root / "alf" / "a.npy").unlink()
    (root / "alf" / "a.npy").mkdir()
    assert read(root) is None


def test_output_whose_swap_was_interrupted_is_recovered_and_counts(root: Path) -> None:
    (root / "x.zarr").rename(root / ".x.zarr.previous")
    assert read(root) == VALUE
    assert (root / "x.zarr" / "zarr.json").exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe\x00", bytes(40)])
def test_damaged_marker_is_not_done(root: Path, data: bytes) -> None:
    (root / "done" / "times.json").write_bytes(data)
    assert read(root) is None


def test_marker_of_another_version_is_not_done(root: Path) -> None:
    path = root / "done" / "times.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    assert read(root) is None


def test_step_whose_output_is_not_there_cannot_be_marked(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_marker(root / "done" / "other.json", "abc", root, [root / "never.npy"], {})
    assert not (root / "done" / "other.json").exists()


def test_marking_again_replaces_the_marker(root: Path) -> None:
    write_marker(root / "done" / "times.json", "new", root, [], {"n": 1})
    assert read(root) is None
    assert read(root, "new") == {"n": 1}
