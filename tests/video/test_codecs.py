import numpy as np

from ibl_dask.video.encoding import codecs
from ibl_dask.video.encoding.codecs import try_codecs


def test_this_build_can_do_what_videos_need():
    assert try_codecs() == {"libx264": "", "MPEG-4": "", "MJPEG": ""}


def test_a_codec_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(codecs, "_TRIED", {"a": ("no_such", "h264", "yuv420p"), "b": ("mpeg4", "no_such", "yuv420p")})
    found = try_codecs()
    assert found["a"].startswith("encoder no_such: ")
    assert found["b"].startswith("decoder no_such: ")


def test_pictures_that_come_back_changed_are_told(monkeypatch):
    monkeypatch.setattr(codecs, "_decode", lambda *args: [np.full((48, 64), 255, np.uint8)] * 8)
    assert "changed by" in try_codecs()["MJPEG"]


def test_frames_that_do_not_come_back_are_told(monkeypatch):
    monkeypatch.setattr(codecs, "_decode", lambda *args: [])
    assert try_codecs()["MPEG-4"] == "0 of 8 frames came back from mpeg4"
