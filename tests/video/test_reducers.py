"""Each reducer against plain NumPy on the decoded frames."""

import cv2
import numpy as np
import pytest
from passes import assert_same_bits, values_of

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.synth.movie import write_video
from ibl_dask.video.chunking import cut_evenly
from ibl_dask.video.container.index import index_video
from ibl_dask.video.reader import FrameReader
from ibl_dask.video.reducers.brightness import Brightness
from ibl_dask.video.reducers.camera_qc import FaceMatch, QcSamples, focus_samples, median_position, sample_frames
from ibl_dask.video.reducers.camera_set import brightness_region, camera_reducers, focus_regions, wheel_region
from ibl_dask.video.reducers.motion_energy import MotionEnergy
from ibl_dask.video.reducers.reference_frame import find_reference
from ibl_dask.video.reducers.sharpness import Sharpness
from ibl_dask.video.reducers.thumbnails import Thumbnails

REGION = Region(10, 90, 20, 200)


@pytest.fixture(scope="module")
def movie(videos):
    path = videos["h264_b_frames"]
    index = index_video(path)
    with FrameReader(path, index) as reader:
        return path, index, reader.read(0, len(index)).astype(np.int64)


def values(movie, reducer):
    path, index, _ = movie
    return {k.split("/")[1]: v for k, v in values_of(path, index, [Chunk(0, len(index))], [reducer]).items()}


def test_brightness_is_the_mean_luma_of_the_region(movie):
    got = values(movie, Brightness(REGION))["brightness"]
    np.testing.assert_allclose(got, movie[2][:, 10:90, 20:200].mean(axis=(1, 2)), rtol=1e-6)


@pytest.mark.parametrize("lag", [1, 2, 5])
def test_motion_energy_is_the_mean_absolute_difference_to_a_later_frame(movie, lag):
    got = values(movie, MotionEnergy(REGION, "any", lag))["motion_energy_any"]
    pixels = movie[2][:, 10:90, 20:200]
    np.testing.assert_allclose(got[:-lag], np.abs(pixels[lag:] - pixels[:-lag]).mean(axis=(1, 2)), rtol=1e-6)
    assert np.isnan(got[-lag:]).all()


@pytest.mark.parametrize("lag", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 50])
def test_motion_energy_across_borders_is_that_of_one_chunk(movie, lag, size):
    path, index, _ = movie
    reducers = [MotionEnergy(REGION, "any", lag)]
    whole = values_of(path, index, [Chunk(0, len(index))], reducers)
    assert_same_bits(values_of(path, index, cut_evenly(len(index), size), reducers), whole)


def test_sharpness_stands_at_every_stride_th_frame(movie):
    got = values(movie, Sharpness(stride=10))["sharpness"]
    assert len(got) == 10
    half = cv2.resize(movie[2][30].astype(np.uint8), (160, 128), interpolation=cv2.INTER_AREA)
    assert got[3] == pytest.approx(cv2.Laplacian(half, cv2.CV_64F).var(), rel=1e-5)


def test_blurring_lowers_sharpness():
    from ibl_dask.video.reducers.sharpness import sharpness

    image = np.random.default_rng(0).integers(0, 255, (128, 160), np.uint8)
    assert sharpness(cv2.GaussianBlur(image, (9, 9), 0)) < sharpness(image)


def test_samples_see_the_channel_that_opencv_reads(movie):
    """The reference reads frames with `cv2.VideoCapture` and takes the first channel."""
    path, index, _ = movie
    reducer = QcSamples((3, 40, 77), REGION, (40,), (REGION, Region(0, 100, 0, 100)))
    got = values(movie, reducer)
    capture = cv2.VideoCapture(str(path))
    frames = [capture.read()[1][:, :, 0] for _ in range(len(index))]
    expected = [frames[i][10:90, 20:200].mean() for i in (3, 40, 77)]
    np.testing.assert_array_equal(got["sample_brightness"], expected)
    laplacian = cv2.Laplacian(cv2.equalizeHist(frames[40]), cv2.CV_16S, ksize=1)
    np.testing.assert_allclose(
        got["sample_laplacian"][1], [laplacian[10:90, 20:200].var(), laplacian[:100, :100].var()], rtol=1e-12
    )
    assert np.isnan(got["sample_laplacian"][[0, 2]]).all()


SHIFTS = [(0, 0), (9, 3), (9, 3), (9, 3), (-20, 8), (9, 4)]
"""The median is (9, 3): of the frames that count once each, and of those that do not move."""


@pytest.fixture(scope="module")
def moving_face(tmp_path_factory, data_folder):
    """Return a video of the right camera's reference frame, moved and blurred, with its index and reference frame."""
    reference = find_reference("right", 640, 512, data_folder / "qc" / "reference_frames")
    picture = np.load(reference.path)[0]
    path = tmp_path_factory.mktemp("faces") / "face.mp4"

    def frames():
        for number, (dx, dy) in enumerate(SHIFTS):
            yield cv2.GaussianBlur(np.roll(picture, (dy, dx), (0, 1)), (0, 0), (0.4, 0.4, 0.4, 3, 0.4, 0.4)[number])

    write_video(path, frames(), 640, 512, 60, gop=2, options={"crf": "12"})
    return path, index_video(path), reference


def test_face_is_matched_in_each_sampled_frame(moving_face):
    path, index, reference = moving_face
    got = values_of(path, index, [Chunk(0, 6)], [FaceMatch(tuple(range(6)), (0, 3, 5), reference)])
    got = {name.split("/")[1]: array for name, array in got.items()}
    np.testing.assert_array_equal(got["face_x"] - reference.face.left, [dx for dx, _ in SHIFTS])
    np.testing.assert_array_equal(got["face_y"] - reference.face.top, [dy for _, dy in SHIFTS])
    assert (got["face_score"] > 0.9).all()
    capture = cv2.VideoCapture(str(path))
    seen = [capture.read()[1][:, :, 0] for _ in range(6)]
    picture = np.load(reference.path)[0]
    histograms = [cv2.calcHist([image], [0], None, [256], [0, 256]) for image in (picture, *seen)]
    expected = [cv2.compareHist(histogram, histograms[0], cv2.HISTCMP_CORREL) for histogram in histograms[1:]]
    np.testing.assert_allclose(got["histogram_correlation"], expected, rtol=0, atol=1e-9)
    face = reference.face
    for number in range(6):
        laplacian = cv2.Laplacian(cv2.equalizeHist(seen[number]), cv2.CV_16S, ksize=1)
        height, width = face.bottom - face.top, face.right - face.left
        y, x = face.top + 3, face.left + 9
        if number in (0, 3, 5):
            median = laplacian[y : y + height, x : x + width].var()
            assert got["face_is_sharp"][number] == (median > 100)
            y, x = face.top + SHIFTS[number][1], face.left + SHIFTS[number][0]
            own = laplacian[y : y + height, x : x + width].var()
            assert got["face_laplacian"][number] == pytest.approx(own, rel=1e-12)
        else:
            assert np.isnan([got["face_is_sharp"][number], got["face_laplacian"][number]]).all()
    assert got["face_is_sharp"][[0, 3]].tolist() == [1, 0]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_faces_do_not_depend_on_chunks(moving_face, size):
    path, index, reference = moving_face
    reducers = [FaceMatch((0, 1, 3, 3, 5), (1, 5), reference)]
    whole = values_of(path, index, [Chunk(0, 6)], reducers)
    assert_same_bits(values_of(path, index, cut_evenly(6, size), reducers), whole)


def test_frames_count_for_the_median_match_as_often_as_they_are_sampled(moving_face):
    path, index, reference = moving_face
    few = values_of(path, index, [Chunk(0, 6)], [FaceMatch((0, 3), (3,), reference)])
    assert few["face_match/face_x"].tolist() == [reference.face.left, reference.face.left + 9]
    x, y = median_position(np.array([1.0, 5.0, np.nan]), np.array([2.0, 8.0, np.nan]), (4, 4, 4, 7, 9))
    assert (x, y) == (1, 2)
    assert np.isnan(median_position(np.array([np.nan]), np.array([np.nan]), (4,))).all()


def test_high_frequency_mean_is_that_of_the_dft_with_its_centre_zeroed():
    from ibl_dask.video.reducers.camera_qc import high_frequency_mean

    image = np.random.default_rng(1).integers(0, 255, (256, 321), np.uint8)
    image = cv2.GaussianBlur(image, (5, 5), 0)
    shifted = np.fft.fftshift(np.fft.fft2(image.astype(float)))
    shifted[128 - 60 : 128 + 60, 160 - 60 : 160 + 60] = 0
    magnitude = np.abs(np.fft.ifft2(np.fft.ifftshift(shifted)))
    scaled = (magnitude - magnitude.min()) / (magnitude.max() - magnitude.min()) * 256
    assert high_frequency_mean(image) == pytest.approx(np.clip(scaled.round(), 0, 255).mean(), abs=0.01)


@pytest.mark.parametrize("level", [0, 1, 90, 120, 200, 255])
@pytest.mark.parametrize("size", [(128, 160), (512, 640), (1024, 1280)])
def test_image_without_detail_has_no_high_frequencies(level, size):
    """The reference scales up what rounding leaves, so that white frames are in focus."""
    from ibl_dask.video.reducers.camera_qc import high_frequency_mean

    assert high_frequency_mean(np.full(size, level, np.uint8)) == 0


def test_thumbnails_are_the_frames_asked_for(movie):
    got = values(movie, Thumbnails((0, 50), 32, 25))["thumbnail"]
    assert got.shape == (2, 25, 32)
    expected = cv2.resize(movie[2][50].astype(np.uint8), (32, 25), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(got[1], expected)


@pytest.mark.parametrize("n_frames", [201, 500, 216_000])
def test_sampled_frames_are_those_of_the_reference(n_frames):
    np.testing.assert_array_equal(sample_frames(n_frames), np.linspace(100, n_frames - 100, 100).astype(int))


@pytest.mark.parametrize("n_frames", [1, 2, 30, 150, 200])
def test_sampled_frames_of_a_short_video_lie_within_it(n_frames):
    frames = sample_frames(n_frames)
    assert frames.min() >= 0
    assert frames.max() < n_frames
    assert (np.diff(frames) >= 0).all()
    assert focus_samples(len(frames)).max() < len(frames)


@pytest.mark.parametrize("size", [(1280, 1024), (640, 512), (640, 480), (396, 406), (97, 61), (8, 8)])
@pytest.mark.parametrize("label", ["left", "right", "body", "belly"])
def test_regions_lie_within_the_frame(label, size):
    width, height = size
    regions = [brightness_region(label, *size), wheel_region(label, *size), *focus_regions(label, *size)]
    for region in regions:
        assert region.bottom <= height
        assert region.right <= width


def test_every_parameter_changes_the_fingerprint():
    marks = {
        r.fingerprint()
        for r in (
            Brightness(REGION),
            Brightness(Region(10, 90, 20, 201)),
            MotionEnergy(REGION),
            MotionEnergy(REGION, lag=1),
            MotionEnergy(REGION, "paw"),
            Sharpness(),
            Sharpness(stride=5),
        )
    }
    assert len(marks) == 7
    assert Brightness(REGION).fingerprint() == Brightness(Region(10, 90, 20, 200)).fingerprint()


def test_names_of_the_usual_reducers_are_unique():
    reducers = camera_reducers("left", 1000, 1280, 1024)
    names = [variable.name for reducer in reducers for variable in reducer.variables]
    assert len(set(names)) == len(names)
