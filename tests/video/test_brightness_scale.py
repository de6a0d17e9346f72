"""The same picture has the same brightness whatever format it is stored in, before it is compressed and after."""

import av
import cv2
import numpy as np
import pytest
from passes import values_of
from zoo import ffmpeg

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.video.container.index import index_video
from ibl_dask.video.encoding.encode import encode_chunk
from ibl_dask.video.encoding.join import check_mp4, write_mp4
from ibl_dask.video.encoding.profiles import PROFILES
from ibl_dask.video.framepass import join_passes
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import FrameReader
from ibl_dask.video.reducers.brightness import Brightness
from ibl_dask.video.reducers.camera_qc import QcSamples
from ibl_dask.video.reducers.motion_energy import MotionEnergy
from ibl_dask.video.reducers.sharpness import Sharpness
from ibl_dask.video.reducers.thumbnails import Thumbnails

WIDTH, HEIGHT, N_FRAMES = 160, 128, 12
FULL = ("-vf", "scale=out_range=full", "-color_range", "pc")
X264 = ("-c:v", "libx264", "-qp", "4")
FORMATS = {
    "limited H.264": (".mp4", "yuv420p", X264),
    "limited 4:2:2": (".mp4", "yuv422p", X264),
    "full-range H.264": (".mp4", "yuvj420p", X264),
    "full-range H.264 by its tag": (".mp4", "yuv420p", (*X264, *FULL)),
    "full-range MJPEG": (".avi", "yuvj422p", ("-c:v", "mjpeg", "-q:v", "1")),
    "grey": (".avi", "gray", ("-c:v", "ffv1")),
    "raw grey": (".avi", "gray", ("-c:v", "rawvideo")),
    "10 bit": (".mp4", "yuv420p10le", X264),
    "full-range 10 bit": (".mp4", "yuv420p10le", (*X264, *FULL)),
    "grey of 10 bit": (".mkv", "gray10le", ("-c:v", "ffv1")),
    "grey of 16 bit": (".mkv", "gray16le", ("-c:v", "ffv1")),
    "red, green and blue": (".avi", "bgr24", ("-c:v", "rawvideo")),
    "palette": (".avi", "pal8", ("-c:v", "rawvideo")),
    "packed": (".avi", "yuyv422", ("-c:v", "rawvideo")),
    "lossless red, green and blue": (".mp4", "gbrp", ("-c:v", "libx264rgb", "-qp", "4")),
}
USUAL = "limited H.264"
SEEN = Region(10, 110, 20, 140)
REDUCERS = (
    Brightness(SEEN),
    MotionEnergy(SEEN),
    Sharpness(stride=4),
    Thumbnails((5,), 80, 64),
    QcSamples((2, 5), SEEN, (5,), (SEEN,)),
)
GREYS = 255 * np.arange(16) // 15 // 17 * 17
"""What the palette can hold, so that nothing has to be made up for it."""


def pictures():
    """Return smooth moving pictures between black and white of 16 grey levels. (frame, y, x)"""
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 4)
    level = np.clip(((noise - noise.mean()) / noise.std() + 2) / 4, 0, 1)
    frames = np.stack([np.roll(level, 4 * number, axis=1) for number in range(N_FRAMES)])
    return GREYS[np.rint(15 * frames).astype(int)].astype(np.uint8)


def with_palette(path):
    """Write an uncompressed AVI of 8 bits with a palette of greys, as cameras of few colours do."""
    greys = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(256, 4)
    greys[:, 0] = 255  # opaque
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=60)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "pal8"
        for picture in pictures():
            container.mux(stream.encode(av.VideoFrame.from_ndarray((picture, greys), format="pal8")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("formats"), {}
    source = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", "60", "-i", "-")

    def get(name):
        if name not in found:
            suffix, pix_fmt, options = FORMATS[name]
            path = folder / f"{name}{suffix}"
            if name == "palette":
                with_palette(path)
            else:
                ffmpeg(*source, "-pix_fmt", pix_fmt, *options, path, data=pictures().tobytes())
            index = index_video(path)
            found[name] = path, index, values_of(path, index, [Chunk(0, N_FRAMES)], REDUCERS)
        return found[name]

    return get


@pytest.mark.parametrize("name", [name for name in FORMATS if name != USUAL])
def test_every_number_of_a_picture_is_that_of_the_usual_format(made, name):
    _, _, usual = made(USUAL)
    _, _, found = made(name)
    np.testing.assert_allclose(found["brightness/brightness"], usual["brightness/brightness"], atol=0.6)
    energy = "motion_energy_wheel/motion_energy_wheel"
    np.testing.assert_allclose(found[energy], usual[energy], rtol=0.03, atol=0.1)
    np.testing.assert_allclose(found["sharpness/sharpness"], usual["sharpness/sharpness"], rtol=0.05)
    apart = found["thumbnails/thumbnail"].astype(int) - usual["thumbnails/thumbnail"]
    assert np.abs(apart).mean() < 1
    # OpenCV makes up to one level more of full-range 10 bit than of the usual format.
    np.testing.assert_allclose(found["qc_samples/sample_brightness"], usual["qc_samples/sample_brightness"], atol=1)


def test_the_usual_format_keeps_the_luma_that_it_stores(made):
    path, index, usual = made(USUAL)
    with FrameReader(path, index) as reader:
        means = [SEEN.of(luma(frame)).mean() for _, frame in reader.frames(0, N_FRAMES)]
    np.testing.assert_array_equal(usual["brightness/brightness"], np.array(means, np.float32))


def test_the_reference_s_scale_is_that_of_what_opencv_shows(made):
    path, _, usual = made(USUAL)
    capture = cv2.VideoCapture(str(path))
    grey = [cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2GRAY) for _ in range(6)]
    np.testing.assert_allclose(usual["qc_samples/sample_brightness"][1], SEEN.of(grey[5]).mean(), atol=0.05)
    as_shown = (usual["brightness/brightness"][5] - 16) * 255 / 219
    np.testing.assert_allclose(as_shown, SEEN.of(grey[5]).mean(), atol=0.5)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_compressed_and_keeps_its_brightness(made, tmp_path, name):
    path, index, raw = made(name)
    profile, chunks = PROFILES["ibl"], [Chunk(0, 6), Chunk(6, N_FRAMES)]
    target = tmp_path / "compressed.mp4"
    encoded = [encode_chunk(path, index, chunk, profile, REDUCERS) for chunk in chunks]
    assert [one.fidelity.complaint(0, profile.psnr_floor_db) for one in encoded] == ["", ""]
    segments = [(chunk, one.segment) for chunk, one in zip(chunks, encoded, strict=True)]
    result = check_mp4(write_mp4(target, segments, index, profile), index)
    shown = values_of(target, result, [Chunk(0, N_FRAMES)], REDUCERS)
    np.testing.assert_allclose(shown["brightness/brightness"], raw["brightness/brightness"], atol=1)
    np.testing.assert_allclose(shown["qc_samples/sample_brightness"], raw["qc_samples/sample_brightness"], atol=1.2)
    on_the_way = join_passes(REDUCERS, [(one.result.chunk, one.result.arrays) for one in encoded])
    np.testing.assert_array_equal(on_the_way["brightness/brightness"], shown["brightness/brightness"])
    with FrameReader(target, result) as reader:
        ((_, frame),) = reader.frames(3, 4)
    is_full = FORMATS[name][1] not in ("yuv420p", "yuv422p", "yuv420p10le", "yuyv422") or "full" in name
    assert (int(frame.color_range) == 2) == is_full
    assert "gray" not in frame.format.name
