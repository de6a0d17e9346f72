"""What tables say at a glance, beside the index of the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ibl_dask.video.container.index import index_video
from ibl_dask.video.container.summary import read_container_summary


def same_as_index(path: Path) -> None:
    summary, index = read_container_summary(path), index_video(path)
    assert summary is not None
    assert (summary.n_frames, summary.width, summary.height) == (len(index), index.width, index.height)
    np.testing.assert_array_equal(summary.keyframes, index.keyframes)


@pytest.mark.parametrize("label", ["left", "right", "body"])
def test_an_mp4_with_reordered_frames(session_folder: Path, label: str) -> None:
    same_as_index(session_folder / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4")


@pytest.mark.parametrize("label", ["left", "right", "body"])
def test_a_raw_avi(raw_session: Path, label: str) -> None:
    same_as_index(raw_session / "raw_video_data" / f"_iblrig_{label}Camera.raw.avi")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"something else altogether", b"\0\0\0\x10ftypisom\0\0\0\0"])
def test_what_is_no_video_has_no_outline(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    assert read_container_summary(path) is None


def test_damaged_tables_have_no_outline_or_a_wrong_one_but_no_error(session_folder: Path) -> None:
    path = session_folder / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    whole = bytearray(path.read_bytes())
    for kind in (b"stts", b"stsd", b"stss", b"ctts", b"stsz"):
        place = whole.rindex(kind)
        damaged = bytearray(whole)
        damaged[place + 8 : place + 12] = b"\x7f\xff\xff\xff"
        path.write_bytes(damaged)
        found = read_container_summary(path)
        assert found is None or found.n_frames > 0
