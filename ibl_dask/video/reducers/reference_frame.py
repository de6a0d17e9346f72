"""Reference frames of well-placed cameras, and template matching of the face (body camera: the holder) against them.

A reference frame comes from a lab's own folder, or from an installed `ibllib`. A frame pass carries its path and
digest, never its pixels.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UnusableFile, UsageError
from ibl_dask.model.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SHARP_LAPLACIAN = 100
"""Variance of the Laplacian above which a region is in focus; threshold of the reference."""
_FACES = {
    "left": (Region(45, 346, 138, 501), 1280, 1024),
    "right": (Region(14, 174, 430, 618), 640, 512),
    "body": (Region(141, 272, 90, 339), 640, 512),
}
"""Face region of the reference implementation, and the frame size (width, height) it applies to, pixels."""
_FACTOR = 4
"""Reduction of the resolution for the first search."""
_SMALLEST = 8
"""Smallest side of the reduced template, pixels; templates that become smaller are searched at full resolution only."""
_N_CANDIDATES = 3
_NEARLY_AS_GOOD = 0.1
"""Difference from the best reduced score up to which a position is searched at full resolution; at most
`_N_CANDIDATES` positions."""
_AROUND = 2 * _FACTOR
"""Margin of that search, pixels: two of the reduced picture."""
_TRUSTED = 0.5
"""Score below which the frame hardly shows the template, and every position is searched."""
_UNREADABLE = (OSError, ValueError, EOFError)
"""Errors of NumPy for a file that is missing or holds no array."""


@dataclass(frozen=True, slots=True)
class ReferenceFrame:
    """Reference to a frame of a well-placed camera, without its pixels."""

    path: str
    """File of reference frames, of which the first is used. (frame, y, x) uint8"""
    digest: str
    """Digest of that frame."""
    width: int
    """Width of the frame, pixels."""
    height: int
    """Height of the frame, pixels."""
    face: Region
    """Region that serves as template."""

    def identity(self) -> dict[str, object]:
        """Return everything that results depend on, for fingerprints; JSON. The path is not part of it."""
        return {name: value for name, value in asdict(self).items() if name != "path"}


@dataclass(frozen=True, slots=True)
class Match:
    """Best match of the template in a frame."""

    x: int
    """First column, pixels."""
    y: int
    """First row, pixels."""
    score: float
    """Correlation coefficient, -1 to 1 (`cv2.TM_CCOEFF_NORMED`)."""


def reference_folder(given: str | Path | None) -> Path | None:
    """Return the folder of reference frames: the given one, else that of an installed `ibllib`, else None.

    Raises
    ------
    UsageError
        If the given folder holds no reference frames.
    """
    if given is None:
        return _installed_folder()
    folder = Path(given).expanduser().absolute()
    if not any(folder.glob("frames_*.npy")):
        raise UsageError(
            "this folder holds no reference frames",
            where=str(folder),
            expected="frames_{label}.npy for some of left, right, body; uint8, (frame, y, x)",
            got="other files" if folder.is_dir() else "no such folder",
            do="name a folder like `ibllib/qc/reference`, or leave the option out",
        )
    return folder


def _installed_folder() -> Path | None:
    # Importing ibllib takes seconds and sets up logging of its own; finding it does neither.
    spec = importlib.util.find_spec("ibllib")
    locations = [] if spec is None else list(spec.submodule_search_locations or ())
    folders = (Path(location) / "qc" / "reference" for location in locations)
    return next((folder for folder in folders if folder.is_dir()), None)


def find_reference(label: str, width: int, height: int, folder: Path | None) -> ReferenceFrame | str:
    """Return the reference frame of a camera, or the reason for having none.

    Parameters
    ----------
    label : str
        left, right, body or belly.
    width, height : int
        Size of the camera's frames, pixels.
    folder : Path or None
        See `reference_folder`.

    Returns
    -------
    ReferenceFrame or str
        A text is the reason, for the report.
    """
    face = face_region(label, width, height)
    if face is None:
        return f"no face region is defined for a {label} camera"
    if folder is None:
        return (
            f"there are no reference frames: give a folder with frames_{label}.npy (option --reference-frames or "
            "reference_frames=), or install ibllib, which brings some"
        )
    path = folder / f"frames_{label}.npy"
    if not path.exists():
        return f"there is no reference frame of a {label} camera: {path} is not there"
    try:
        frame = _first_frame(path)
    except _UNREADABLE as error:
        return f"the reference frame of the {label} camera cannot be used: {path}: {error}"
    if frame.shape != (height, width):
        return (
            f"the reference frame has {frame.shape[1]} x {frame.shape[0]} pixels and the video {width} x {height}: "
            "other optics, so that resizing one of them would not make them comparable"
        )
    return ReferenceFrame(str(path), _digest(frame), width, height, face)


def face_region(label: str, width: int, height: int) -> Region | None:
    """Return the region in which a well-placed camera shows the face (body camera: the holder); None if undefined.

    Parameters
    ----------
    label : str
        left, right, body or belly.
    width, height : int
        Size of the camera's frames, pixels.

    >>> face_region("left", 1280, 1024)
    Region(top=45, bottom=346, left=138, right=501)
    """
    if label not in _FACES:
        return None
    face, nominal_width, nominal_height = _FACES[label]
    return face.scaled(width, height, nominal_width, nominal_height)


def _first_frame(path: Path) -> NDArray[np.uint8]:
    frames = np.load(path, mmap_mode="r", allow_pickle=False)
    if frames.dtype != np.uint8 or frames.ndim != 3 or 0 in frames.shape:
        raise ValueError(f"expected uint8 (frame, y, x), got {frames.dtype} {frames.shape}")
    return np.array(frames[0])


def _digest(frame: NDArray[np.uint8]) -> str:
    return hashlib.sha256(f"{frame.shape}".encode() + frame.tobytes()).hexdigest()[:16]


@lru_cache(maxsize=8)
def face_finder(reference: ReferenceFrame) -> FaceFinder:
    """Return the finder of a reference frame's face; each process reads the file once.

    Raises
    ------
    UnusableFile
        If the file is gone or has changed since the work was planned.
    """
    try:
        frame = _first_frame(Path(reference.path))
    except _UNREADABLE as error:
        raise _another_file(reference, str(error)) from error
    if _digest(frame) != reference.digest:
        raise _another_file(reference, "another frame")
    return FaceFinder(frame, reference.face)


def _another_file(reference: ReferenceFrame, got: str) -> UnusableFile:
    return UnusableFile(
        "the reference frames are not those that this run was planned with",
        where=reference.path,
        expected=f"uint8 frames, the first of {reference.width} x {reference.height} with digest {reference.digest}",
        got=got,
        do="put the reference frames where every worker can read them, leave them alone, and run again",
    )


class FaceFinder:
    """Template matching of a reference frame's face.

    Parameters
    ----------
    reference : (y, x) uint8
        The reference frame.
    face : Region
        Its part to search for.
    """

    def __init__(self, reference: NDArray[np.uint8], face: Region) -> None:
        self.template = np.ascontiguousarray(face.of(reference))
        self._histogram = _histogram(reference)
        height, width = self.template.shape
        reduced = _reduce(self.template) if min(height, width) >= _SMALLEST * _FACTOR else None
        self._reduced = reduced

    def histogram_correlation(self, image: NDArray[np.uint8]) -> float:
        """Return the correlation of an image's histogram of grey levels with that of the reference frame, -1 to 1."""
        import cv2

        return float(cv2.compareHist(_histogram(image), self._histogram, cv2.HISTCMP_CORREL))

    def find(self, image: NDArray[np.uint8]) -> Match:
        """Return the same match as `search`, at a tenth of the cost.

        Notes
        -----
        Image and template are averaged to a quarter of the resolution, at which the best few positions are cheap to
        find and less sensitive to noise; the true position is within a pixel of one of them. The search at full
        resolution is limited to their surroundings. A low best score, or a best position on the rim of the searched
        surroundings, means that the image hardly shows the template; then every position is searched.
        """
        import cv2

        if self._reduced is None:
            return self.search(image)
        scores = cv2.matchTemplate(_reduce(image), self._reduced, cv2.TM_CCOEFF_NORMED)
        matches = [self._search_around(image, x * _FACTOR, y * _FACTOR) for x, y in _best_positions(np.asarray(scores))]
        match, is_summit = max(matches, key=lambda pair: pair[0].score)
        return match if is_summit and match.score > _TRUSTED else self.search(image)

    def search(self, image: NDArray[np.uint8]) -> Match:
        """Return the best match of all positions, as the reference does; 55 ms for a frame of the left camera."""
        import cv2

        _, score, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(image, self.template, cv2.TM_CCOEFF_NORMED))
        return Match(int(x), int(y), float(score))

    def _search_around(self, image: NDArray[np.uint8], x: int, y: int) -> tuple[Match, bool]:
        """Return the best match around a position; False with it if it lies on the rim, and may not be a summit."""
        height, width = self.template.shape
        last_y, last_x = image.shape[0] - height, image.shape[1] - width
        top, bottom = max(0, min(y, last_y) - _AROUND), min(last_y, y + _AROUND)
        left, right = max(0, min(x, last_x) - _AROUND), min(last_x, x + _AROUND)
        inner = self.search(image[top : bottom + height, left : right + width])
        match = Match(inner.x + left, inner.y + top, inner.score)
        inside_x = (match.x > left or left == 0) and (match.x < right or right == last_x)
        inside_y = (match.y > top or top == 0) and (match.y < bottom or bottom == last_y)
        return match, inside_x and inside_y


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.calcHist([image], [0], None, [256], [0, 256]), np.float32)


def _reduce(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image at a quarter of its resolution; rows and columns that fill no block are dropped."""
    import cv2

    height, width = (n // _FACTOR for n in image.shape)
    whole = image[: height * _FACTOR, : width * _FACTOR]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _best_positions(scores: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """Yield the positions (x, y) of the highest summits."""
    import cv2

    scores = scores.copy()
    highest = None
    for _ in range(_N_CANDIDATES):
        _, score, _, (x, y) = cv2.minMaxLoc(scores)
        highest = score if highest is None else highest
        if score < highest - _NEARLY_AS_GOOD:
            return
        yield int(x), int(y)
        scores[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = -2


def sharp_positions(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the focus of a region at every position in an image, as packed bits.

    Parameters
    ----------
    image : (y, x) uint8
        Frame with an equalised histogram.
    height, width : int
        Size of the region, pixels.

    Returns
    -------
    (byte,) uint8
        Bit `y * (image width - width + 1) + x` is set where the variance of the Laplacian of the region whose first
        pixel is (y, x) is above `SHARP_LAPLACIAN`. 83 kB for a frame of the left camera.

    Notes
    -----
    The position that counts is known only after the last frame of the video. Sums over any rectangle come from integral
    images, exact in float64, so each bit equals the comparison of that region's own variance.
    """
    import cv2

    laplacian = cv2.Laplacian(image, cv2.CV_16S, ksize=1)
    sums, squares = cv2.integral2(laplacian, sdepth=cv2.CV_64F, sqdepth=cv2.CV_64F)
    n = height * width
    total, of_squares = (_over_regions(np.asarray(table), height, width) for table in (sums, squares))
    return np.packbits(n * of_squares - total * total > SHARP_LAPLACIAN * n * n)


def _over_regions(table: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    return table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]


def is_sharp_at(bits: NDArray[np.uint8], position: int) -> NDArray[np.bool_]:
    """Return one bit of `sharp_positions`, by its number, for many frames. (frame,)

    >>> is_sharp_at(np.packbits([[0, 1, 0], [0, 0, 1]], axis=1), 1)
    array([ True, False])
    """
    return np.asarray((bits[:, position >> 3] >> (7 - (position & 7))) & 1, np.bool_)
