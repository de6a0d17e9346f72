"""Where frames show the face of a reference frame: as a full search says, at a fraction of its cost."""

import pickle
import sys

import cv2
import numpy as np
import pytest

from ibl_dask.errors import UnusableFile, UsageError
from ibl_dask.model.region import Region
from ibl_dask.video.reducers.camera_qc import FaceMatch
from ibl_dask.video.reducers.camera_set import camera_reducers
from ibl_dask.video.reducers.reference_frame import (
    FaceFinder,
    ReferenceFrame,
    face_finder,
    face_region,
    find_reference,
    is_sharp_at,
    reference_folder,
    sharp_positions,
)

SIZES = {"left": (1280, 1024), "right": (640, 512), "body": (640, 512)}
N_CASES = {"left": 8, "right": 25, "body": 25}


@pytest.fixture(scope="module")
def frames(data_folder):
    """Return the real reference frames of each camera."""
    return {label: np.load(data_folder / "qc" / "reference_frames" / f"frames_{label}.npy") for label in SIZES}


def changed(frame, rng):
    """Return a frame that is shifted, darker or brighter, and noisy, as if another camera had taken it."""
    shift = (rng.normal(0, 0.06, 2) * frame.shape).round().astype(int)
    moved = np.roll(frame, shift, (0, 1)).astype(float)
    noisy = (
        moved * rng.uniform(0.3, 1.4) + rng.uniform(-40, 60) + rng.normal(0, rng.choice([0, 3, 15, 40]), frame.shape)
    )
    return cv2.GaussianBlur(noisy.clip(0, 255).astype(np.uint8), (0, 0), rng.choice([0.4, 1, 3]))


@pytest.mark.parametrize("label", list(SIZES))
def test_place_is_that_of_the_search_of_the_whole_frame(frames, label):
    rng = np.random.default_rng(7)
    finder = FaceFinder(frames[label][0], face_region(label, *SIZES[label]))
    for _ in range(N_CASES[label]):
        frame = changed(frames[label][rng.integers(len(frames[label]))], rng)
        found, full = finder.find(frame), finder.search(frame)
        assert (found.x, found.y) == (full.x, full.y)
        assert found.score == pytest.approx(full.score, abs=1e-5)


@pytest.mark.parametrize("shift", [(0, 0), (-40, 0), (17, -9), (50, 33), (-14, -40), (0, 91)])
def test_shifted_frame_is_found_to_the_pixel(frames, shift):
    frame, face = frames["right"][0], face_region("right", 640, 512)
    found = FaceFinder(frame, face).find(np.roll(frame, (shift[1], shift[0]), (0, 1)))
    expected = (face.left + shift[0], face.top + shift[1])
    if 0 <= expected[0] <= 640 - 188 and 0 <= expected[1] <= 512 - 160:
        assert (found.x, found.y) == expected
        assert found.score > 0.999


HARD = {
    "noise": lambda rng, shape: rng.integers(0, 256, shape),
    "black": lambda rng, shape: np.zeros(shape),
    "white": lambda rng, shape: np.full(shape, 255),
    "constant": lambda rng, shape: np.full(shape, 77),
    "slope": lambda rng, shape: np.broadcast_to(np.linspace(0, 255, shape[1]), shape),
    "stripes": lambda rng, shape: np.broadcast_to(128 + 100 * np.sin(np.arange(shape[1])), shape),
}


@pytest.mark.parametrize("kind", list(HARD))
def test_frames_that_do_not_show_the_face_get_the_place_of_the_full_search(frames, kind):
    frame = HARD[kind](np.random.default_rng(0), (512, 640)).astype(np.uint8)
    finder = FaceFinder(frames["right"][0], face_region("right", 640, 512))
    assert finder.find(frame) == finder.search(frame)


def test_template_too_small_to_reduce_is_searched_in_full():
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (64, 80)).astype(np.uint8)
    finder = FaceFinder(frame, Region(10, 30, 20, 45))
    found = finder.find(np.roll(frame, (3, 5), (0, 1)))
    assert (found.x, found.y) == (25, 13)


def test_histogram_of_the_reference_frame_itself_correlates_fully(frames):
    finder = FaceFinder(frames["body"][0], face_region("body", 640, 512))
    assert finder.histogram_correlation(frames["body"][0]) == pytest.approx(1)
    assert finder.histogram_correlation(255 - frames["body"][0]) < 0.5


@pytest.mark.parametrize("sigma", [1.0, 1.3, 2.0])
def test_every_place_is_in_focus_where_the_variance_of_its_region_says_so(frames, sigma):
    image = cv2.equalizeHist(cv2.GaussianBlur(frames["right"][0][:300, :350], (0, 0), sigma))
    laplacian = cv2.Laplacian(image, cv2.CV_16S, ksize=1)
    bits = sharp_positions(image, 120, 90)[None]
    columns, rows = 350 - 90 + 1, 300 - 120 + 1
    rng = np.random.default_rng(1)
    places = [(0, 0), (rows - 1, columns - 1), *rng.integers(0, (rows, columns), (300, 2)).tolist()]
    expected = [laplacian[y : y + 120, x : x + 90].var() > 100 for y, x in places]
    assert [bool(is_sharp_at(bits, y * columns + x)[0]) for y, x in places] == expected
    assert sigma != 1.3 or 0 < np.mean(expected) < 1


def test_reference_of_each_camera_is_found_and_small_enough_to_travel(data_folder):
    folder = reference_folder(data_folder / "qc" / "reference_frames")
    for label, size in SIZES.items():
        reference = find_reference(label, *size, folder)
        assert isinstance(reference, ReferenceFrame)
        reducer = camera_reducers(label, 216_000, *size, folder)[-1]
        assert isinstance(reducer, FaceMatch)
        assert len(pickle.dumps(reducer)) < 2000
    assert face_region("left", 640, 512) == Region(22, 173, 69, 250)


@pytest.mark.parametrize(
    ("label", "size", "said"),
    [
        ("belly", (640, 512), "belly"),
        ("body", (640, 512), "frames_body.npy is not there"),
        ("left", (640, 512), "1280 x 1024 pixels and the video 640 x 512"),
    ],
)
def test_missing_or_unlike_reference_is_told(data_folder, tmp_path, label, size, said):
    (tmp_path / "frames_left.npy").symlink_to(data_folder / "qc" / "reference_frames" / "frames_left.npy")
    found = find_reference(label, *size, reference_folder(tmp_path))
    assert isinstance(found, str)
    assert said in found
    assert len(camera_reducers(label, 100, *size, tmp_path)) == len(camera_reducers(label, 100, *size))


def test_without_any_reference_it_is_told_how_to_get_some():
    found = find_reference("left", 1280, 1024, None)
    assert isinstance(found, str)
    assert "--reference-frames" in found
    assert "ibllib" in found


@pytest.mark.parametrize("content", [b"", b"junk", None, np.zeros((2, 512, 640)), np.zeros((512, 640), np.uint8)])
def test_unusable_reference_file_is_told_and_stops_nobody(tmp_path, content):
    path = tmp_path / "frames_right.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, np.array(["a", None], object) if content is None else content, allow_pickle=True)
    found = find_reference("right", 640, 512, tmp_path)
    assert isinstance(found, str)
    assert str(path) in found


def test_folder_without_reference_frames_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="reference frames") as caught:
            reference_folder(folder)
        assert str(folder) in caught.value.where


def test_installed_ibllib_is_found_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "ibllib"
    (package / "qc" / "reference").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ibllib", raising=False)
    assert reference_folder(None) == package / "qc" / "reference"
    assert "ibllib" not in sys.modules


def test_fingerprint_follows_the_content_of_the_reference_and_not_its_place(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 512, 640)).astype(np.uint8)
    marks = []
    for name, array in {"a": pictures, "b": pictures, "c": pictures[::-1], "d": pictures[:1]}.items():
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "frames_right.npy", array)
        marks.append(camera_reducers("right", 500, 640, 512, tmp_path / name)[-1].fingerprint())
    assert marks[0] == marks[1] == marks[3]  # the first frame alone counts
    assert marks[0] != marks[2]
    assert camera_reducers("right", 600, 640, 512, tmp_path / "a")[-1].fingerprint() != marks[0]


def test_reference_that_changed_or_went_since_the_plan_is_refused(tmp_path):
    path = tmp_path / "frames_right.npy"
    np.save(path, np.zeros((1, 512, 640), np.uint8))
    reference = find_reference("right", 640, 512, tmp_path)
    np.save(path, np.ones((1, 512, 640), np.uint8))
    with pytest.raises(UnusableFile, match="not those that this run was planned with"):
        face_finder(reference)
    path.unlink()
    with pytest.raises(UnusableFile) as caught:
        face_finder(reference)
    assert str(path) in caught.value.where
