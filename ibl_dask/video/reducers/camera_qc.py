"""Measurements of the reference's camera QC: brightness, focus and the position of the face in sampled frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ibl_dask.model.region import Region
from ibl_dask.model.step import fingerprint
from ibl_dask.video.pixels import OpenCvPictures
from ibl_dask.video.reducers.defaults import Concatenation, DefaultReducer, WantedFrames, frames_in_chunk
from ibl_dask.video.reducers.protocol import Variable
from ibl_dask.video.reducers.reference_frame import ReferenceFrame, face_finder, is_sharp_at, sharp_positions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import av
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.reducers.protocol import Accumulator, Joiner, Values

_NO_DETAIL = 1e-3
"""Range of grey levels that rounding leaves of an image without detail; scaling it up would make the image the sharpest
of all."""


@dataclass(frozen=True, slots=True)
class QcSamples(DefaultReducer):
    """Brightness and focus of 100 frames, from the first channel that `cv2.VideoCapture` converts them to.

    Brightness is the mean of the QC region. Focus is measured in `focus_frames` alone, as in the reference: variance of
    the Laplacian in each focus region, and mean of the frame without its low frequencies, both after equalisation of
    the histogram.
    """

    frames: tuple[int, ...]
    region: Region
    focus_frames: tuple[int, ...]
    focus_regions: tuple[Region, ...]
    name: str = "qc_samples"
    version: ClassVar[int] = 2
    frame_dim: ClassVar[str] = "sample_frame"

    @property
    def variables(self) -> tuple[Variable, ...]:
        n = len(self.focus_regions)
        return (
            Variable("sample_brightness", "float64", "1", "mean first channel (BGR) of the QC region, 0 to 255"),
            Variable(
                "sample_laplacian",
                "float64",
                "1",
                "variance of the Laplacian of each focus region after equalisation",
                (n,),
                ("focus_region",),
            ),
            Variable("sample_high_frequency", "float64", "1", "mean of the equalised frame without low frequencies"),
        )

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return frames_in_chunk(self.frames, chunk)

    def start(self, chunk: Chunk) -> Accumulator:
        return _QcSamplesOfChunk(self, chunk)


class _QcSamplesOfChunk(WantedFrames):
    def __init__(self, reducer: QcSamples, chunk: Chunk) -> None:
        wanted = reducer.wanted(chunk)
        super().__init__(wanted, reducer.variables)
        self.reducer = reducer
        self.row = {int(number): i for i, number in enumerate(wanted)}
        self.focus_frames = frozenset(reducer.focus_frames)
        self.first_channel = _FirstChannel()

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        import cv2

        i = self.row.get(number)
        if i is None:
            return
        blue = self.first_channel(frame)
        self._arrays["sample_brightness"][i] = self.reducer.region.of(blue).mean()
        if number in self.focus_frames:
            equalised = np.asarray(cv2.equalizeHist(blue), np.uint8)
            self._arrays["sample_laplacian"][i] = laplacian_variances(equalised, self.reducer.focus_regions)
            self._arrays["sample_high_frequency"][i] = high_frequency_mean(equalised)


class _FirstChannel:
    """Converter of frames to the first channel of `cv2.VideoCapture`'s pictures."""

    def __init__(self) -> None:
        self._pictures = OpenCvPictures()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        import cv2

        return np.asarray(cv2.extractChannel(self._pictures(frame), 0), np.uint8)


@dataclass(frozen=True, slots=True)
class FaceMatch(DefaultReducer):
    """Position of a reference frame's face in sampled frames, and focus at that position.

    The reference measures focus at the median position of all frames, which is known only after the last of them. So
    an accumulator keeps one bit for every position of the face in each frame that is measured for focus, and the
    joiner reads the bits of the median position.
    """

    frames: tuple[int, ...]
    """Frames to search, repeated as often as each counts in the median."""
    focus_frames: tuple[int, ...]
    """Frames measured for focus."""
    reference: ReferenceFrame
    name: str = "face_match"
    frame_dim: ClassVar[str] = "sample_frame"

    @property
    def variables(self) -> tuple[Variable, ...]:
        where = "of the best match of the reference frame's face"
        return (
            Variable("face_x", "float64", "pixel", f"first column {where}"),
            Variable("face_y", "float64", "pixel", f"first row {where}"),
            Variable("face_score", "float64", "1", f"correlation coefficient {where}"),
            Variable("histogram_correlation", "float64", "1", "correlation of histograms with the reference frame"),
            Variable("face_laplacian", "float64", "1", f"variance of the Laplacian {where}, after equalisation"),
            Variable("face_is_sharp", "float64", "1", "1 where that of the median match of all frames is over 100"),
        )

    def fingerprint(self) -> str:
        parts = {**asdict(self), "reference": self.reference.identity()}
        return fingerprint(type(self).__name__, self.version, **parts)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return frames_in_chunk(self.frames, chunk)

    def start(self, chunk: Chunk) -> Accumulator:
        return _FaceMatchOfChunk(self, chunk)

    def join(self) -> Joiner:
        return _FaceMatchOfVideo(self)


class _FaceMatchOfChunk(WantedFrames):
    def __init__(self, reducer: FaceMatch, chunk: Chunk) -> None:
        wanted = reducer.wanted(chunk)
        super().__init__(wanted, reducer.variables)
        self.row = {int(number): i for i, number in enumerate(wanted)}
        self.focus_frames = frozenset(reducer.focus_frames)
        self.finder = face_finder(reducer.reference)
        self.first_channel = _FirstChannel()
        self.sharp: dict[int, NDArray[np.uint8]] = {}
        face, height, width = reducer.reference.face, reducer.reference.height, reducer.reference.width
        self.height, self.width = face.bottom - face.top, face.right - face.left
        self.n_bytes = -(-(height - self.height + 1) * (width - self.width + 1) // 8)

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        import cv2

        i = self.row.get(number)
        if i is None:
            return
        image = self.first_channel(frame)
        match = self.finder.find(image)
        values = {
            "face_x": match.x,
            "face_y": match.y,
            "face_score": match.score,
            "histogram_correlation": self.finder.histogram_correlation(image),
        }
        if number in self.focus_frames:
            equalised = np.asarray(cv2.equalizeHist(image), np.uint8)
            region = Region(match.y, match.y + self.height, match.x, match.x + self.width)
            (values["face_laplacian"],) = laplacian_variances(equalised, [region])
            self.sharp[i] = sharp_positions(equalised, self.height, self.width)
        for name, value in values.items():
            self._arrays[name][i] = value

    def arrays(self) -> dict[str, Values]:
        bits = np.array(list(self.sharp.values()), np.uint8).reshape(len(self.sharp), self.n_bytes)
        return {**self._arrays, "sharp_samples": np.array(list(self.sharp), np.int64), "sharp_positions": bits}


class _FaceMatchOfVideo(Concatenation):
    """Focus at the median position; holds the bits of the frames measured for focus, 2 MB at most."""

    def __init__(self, reducer: FaceMatch) -> None:
        super().__init__(reducer.variables)
        self.reducer = reducer
        self.n_samples = 0
        self.samples: list[NDArray[np.int64]] = []
        self.bits: list[NDArray[np.uint8]] = []

    def add(self, chunk: Chunk, arrays: Mapping[str, Values]) -> None:
        super().add(chunk, arrays)
        self.samples.append(arrays["sharp_samples"] + self.n_samples)
        self.bits.append(arrays["sharp_positions"])
        self.n_samples += len(arrays["face_x"])

    def arrays(self) -> dict[str, Values]:
        values = super().arrays()
        samples = np.concatenate(self.samples)
        if len(samples):
            x, y = median_position(values["face_x"], values["face_y"], self.reducer.frames)
            face, width = self.reducer.reference.face, self.reducer.reference.width
            position = round(y) * (width - (face.right - face.left) + 1) + round(x)
            values["face_is_sharp"][samples] = is_sharp_at(np.concatenate(self.bits), position)
        return values


def median_position(x: NDArray[np.float64], y: NDArray[np.float64], frames: Sequence[int]) -> tuple[float, float]:
    """Return the median position of the matches, pixels; NaN if no frame decodes.

    Parameters
    ----------
    x, y : (sample,) float64
        Matches of the frames, each frame once; NaN for frames that do not decode.
    frames : sequence of int
        The same frames, repeated as often as each counts.
    """
    sample = np.searchsorted(np.unique(np.array(frames)), frames)
    known = sample[~np.isnan(x[sample])]
    if len(known) == 0:
        return np.nan, np.nan
    return float(np.median(x[known])), float(np.median(y[known]))


def laplacian_variances(image: NDArray[np.uint8], regions: Sequence[Region]) -> list[float]:
    """Return the variance of the Laplacian in each region."""
    import cv2

    laplacian = np.asarray(cv2.Laplacian(image, cv2.CV_16S, ksize=1))
    return [float(region.of(laplacian).var()) for region in regions]


def high_frequency_mean(image: NDArray[np.uint8], half_side: int = 60) -> float:
    """Return the mean of an image without its low frequencies, scaled to 0..256.

    Parameters
    ----------
    image : (y, x) uint8
        Frame with an equalised histogram.
    half_side : int
        Frequencies from -half_side up to but not including +half_side are removed, on both axes: 60 in the reference.

    Returns
    -------
    float
        0 for an image without detail.
    """
    import cv2
    from scipy import fft

    spectrum = fft.fft2(image.astype(np.float32))
    rows, columns = (np.fft.fftfreq(n, 1 / n).round() for n in image.shape)
    low_rows, low_columns = ((f >= -half_side) & (f < half_side) for f in (rows, columns))
    spectrum[np.ix_(low_rows, low_columns)] = 0
    magnitude = np.abs(fft.ifft2(spectrum, overwrite_x=True)).astype(np.float32)
    if np.ptp(magnitude) < _NO_DETAIL:
        return 0.0
    scaled = cv2.normalize(magnitude, np.empty(0), 0, 256, cv2.NORM_MINMAX, cv2.CV_8U)
    return float(np.mean(scaled))


def sample_frames(n_frames: int, n_samples: int = 100) -> NDArray[np.int64]:
    """Return the frames that the checks sample: `linspace(100, n - 100)`, as in the reference. (sample,)

    Videos of up to 200 frames, which the reference samples backwards or beyond their ends, are sampled from end to end.
    """
    if n_frames > 200:
        return np.linspace(100, n_frames - 100, n_samples).astype(np.int64)
    return np.linspace(0, n_frames - 1, min(n_samples, n_frames)).astype(np.int64)


def focus_samples(n_samples: int, n_focus: int = 20) -> NDArray[np.int64]:
    """Return the indices of the samples that are measured for focus. (n,)"""
    return np.unique(np.linspace(0, n_samples - 1, n_focus, dtype=np.int64))
