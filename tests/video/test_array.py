import dask
import numpy as np

from ibl_dask.video.array import open_frames
from ibl_dask.video.container.index import index_video
from ibl_dask.video.reader import FrameReader


def test_view_decodes_nothing_before_it_is_asked(videos, monkeypatch):
    def refuse(*args):
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr(FrameReader, "read", refuse)
    view = open_frames(videos["h264"])
    assert view.dims == ("frame", "y", "x")
    assert view.shape == (97, 256, 320)
    assert view.dtype == np.uint8


def test_chunks_of_the_view_start_on_keyframes(videos):
    index = index_video(videos["h264"])
    view = open_frames(videos["h264"], index, chunk_pixels=30 * 320 * 256)
    starts = np.cumsum([0, *view.chunks[0]])[:-1]
    assert len(starts) > 2
    assert set(starts) <= set(index.keyframes.tolist())


def test_slices_of_the_view_are_the_frames(videos):
    view = open_frames(videos["h264_b_frames"], chunk_pixels=30 * 320 * 256)
    with FrameReader(videos["h264_b_frames"]) as reader, dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(view[20:60, 5:9, ::7].compute(), reader.read(20, 60)[:, 5:9, ::7])


def test_view_has_times_only_where_there_is_one_per_frame(videos):
    times = np.arange(97) / 60
    assert "time" in open_frames(videos["h264"], times_s=times).coords
    assert "time" not in open_frames(videos["h264"], times_s=times[:-1]).coords
    assert float(open_frames(videos["h264"], times_s=times).time[60]) == 1.0
