"""What a frame pass makes of the frames: one small class per product.

A reducer says which frames it gives numbers for, how many frames after these it must see (`ahead`), and what its
numbers mean. Given the same frames it returns the same bytes, however the video was cut into chunks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import cv2
import numpy as np

from ibl_dask.model.region import Region
from ibl_dask.model.step import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    import av
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Variable:
    """One array of a reducer."""

    name: str
    """Name in the per-frame store."""
    dtype: str
    """Type of its values."""
    units: str
    """Units, in the words of the CF conventions where these have one."""
    long_name: str
    """What it is, in words."""
    shape: tuple[int, ...] = ()
    """Shape of the value of one frame."""
    dims: tuple[str, ...] = ()
    """Names of these dimensions."""


class Accumulator(Protocol):
    """Takes the frames of one chunk."""

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        """Take one frame; numbers increase, frames that do not decode are left out."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the values at the reducer's frames of this chunk; NaN where a frame was left out."""


@runtime_checkable
class Reducer(Protocol):
    """Turns the frames of a camera into numbers."""

    @property
    def name(self) -> str:
        """Return the name, unique within a pass."""

    @property
    def ahead(self) -> int:
        """Return how many frames after its own a value depends on."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Return what it computes."""

    @property
    def frame_dim(self) -> str:
        """Return the name of its frame dimension; `frame` where it gives a value for every frame."""

    def fingerprint(self) -> str:
        """Return what changes whenever its values would."""

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        """Return the numbers of the frames of a chunk that it gives values for."""

    def start(self, chunk: Chunk) -> Accumulator:
        """Return an empty accumulator for a chunk."""


class _Described:
    """Fingerprint of a reducer: its name, version and every parameter."""

    version: ClassVar[int] = 1

    def fingerprint(self) -> str:
        return fingerprint(type(self).__name__, self.version, **asdict(self))  # type: ignore[call-overload]  # every reducer is a dataclass


class _Filling:
    """Arrays of NaN (or zero) that are filled at the wanted frames."""

    def __init__(self, wanted: NDArray[np.int64], variables: Sequence[Variable]) -> None:
        self.first = int(wanted[0]) if len(wanted) else 0
        self._arrays = {v.name: _empty(len(wanted), v) for v in variables}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self._arrays


def _empty(n: int, variable: Variable) -> NDArray[Any]:
    fill = np.nan if np.dtype(variable.dtype).kind == "f" else 0
    return np.full((n, *variable.shape), fill, variable.dtype)


@dataclass(frozen=True, slots=True)
class Brightness(_Described):
    """Mean luma of the QC region, every frame."""

    region: Region
    name: str = "brightness"
    ahead: ClassVar[int] = 0
    frame_dim: ClassVar[str] = "frame"

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (Variable(self.name, "float32", "1", "mean luma of the QC region, 0 to 255"),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return np.arange(chunk.start, chunk.stop)

    def start(self, chunk: Chunk) -> Accumulator:
        return _BrightnessOfChunk(self, chunk)


class _BrightnessOfChunk(_Filling):
    def __init__(self, reducer: Brightness, chunk: Chunk) -> None:
        super().__init__(reducer.wanted(chunk), reducer.variables)
        self.region = reducer.region
        self.values = self._arrays[reducer.name]

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        i = number - self.first
        if i < len(self.values):
            self.values[i] = cv2.sumElems(self.region.of(luma))[0] / self.region.n_pixels


@dataclass(frozen=True, slots=True)
class MotionEnergy(_Described):
    """Mean absolute luma difference of a region between a frame and the one `lag` frames later.

    The value stands at the earlier frame, so that the frames a chunk needs beyond its own follow it: these cost a few
    decoded frames, where frames before it would cost a whole group of pictures. The last `lag` frames have none.
    """

    region: Region
    label: str = "wheel"
    lag: int = 2
    frame_dim: ClassVar[str] = "frame"

    @property
    def name(self) -> str:
        return f"motion_energy_{self.label}"

    @property
    def ahead(self) -> int:
        return self.lag

    @property
    def variables(self) -> tuple[Variable, ...]:
        text = f"mean absolute luma difference of the {self.label} region to the frame {self.lag} later"
        return (Variable(self.name, "float32", "1", text),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return np.arange(chunk.start, chunk.stop)

    def start(self, chunk: Chunk) -> Accumulator:
        return _MotionEnergyOfChunk(self, chunk)


class _MotionEnergyOfChunk(_Filling):
    def __init__(self, reducer: MotionEnergy, chunk: Chunk) -> None:
        super().__init__(reducer.wanted(chunk), reducer.variables)
        self.region, self.lag = reducer.region, reducer.lag
        self.values = self._arrays[reducer.name]
        # A view keeps its frame alive, so nothing is copied; the last `lag + 1` frames are held.
        self.recent: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=reducer.lag + 1)

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        now = self.region.of(luma)
        self.recent.append((number, now))
        earlier, before = self.recent[0]
        while earlier < number - self.lag:
            self.recent.popleft()
            earlier, before = self.recent[0]
        i = earlier - self.first
        if earlier == number - self.lag and 0 <= i < len(self.values):
            self.values[i] = cv2.norm(now, before, cv2.NORM_L1) / self.region.n_pixels


@dataclass(frozen=True, slots=True)
class Sharpness(_Described):
    """Variance of the Laplacian of the half-resolution luma, every `stride` frames."""

    stride: int = 50
    name: str = "sharpness"
    ahead: ClassVar[int] = 0
    frame_dim: ClassVar[str] = "sharpness_frame"

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (Variable(self.name, "float32", "1", "variance of the Laplacian of the luma at half resolution"),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return np.arange(-(-chunk.start // self.stride) * self.stride, chunk.stop, self.stride)

    def start(self, chunk: Chunk) -> Accumulator:
        return _SharpnessOfChunk(self, chunk)


class _SharpnessOfChunk(_Filling):
    def __init__(self, reducer: Sharpness, chunk: Chunk) -> None:
        super().__init__(reducer.wanted(chunk), reducer.variables)
        self.stride = reducer.stride
        self.values = self._arrays[reducer.name]

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        if number % self.stride == 0:
            i = (number - self.first) // self.stride
            if i < len(self.values):
                self.values[i] = sharpness(luma)


def sharpness(luma: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of a frame at half resolution."""
    height, width = luma.shape
    half = cv2.resize(luma, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(half, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2


@dataclass(frozen=True, slots=True)
class Thumbnails(_Described):
    """A few small pictures, for people."""

    frames: tuple[int, ...]
    width: int
    height: int
    name: str = "thumbnails"
    ahead: ClassVar[int] = 0
    frame_dim: ClassVar[str] = "thumbnail_frame"

    @property
    def variables(self) -> tuple[Variable, ...]:
        shape, dims = (self.height, self.width), ("thumbnail_y", "thumbnail_x")
        return (Variable("thumbnail", "uint8", "1", "luma, reduced", shape, dims),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return _within(self.frames, chunk)

    def start(self, chunk: Chunk) -> Accumulator:
        return _ThumbnailsOfChunk(self, chunk)


class _ThumbnailsOfChunk(_Filling):
    def __init__(self, reducer: Thumbnails, chunk: Chunk) -> None:
        wanted = reducer.wanted(chunk)
        super().__init__(wanted, reducer.variables)
        self.place = {int(number): i for i, number in enumerate(wanted)}
        self.size = (reducer.width, reducer.height)

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        i = self.place.get(number)
        if i is not None:
            self._arrays["thumbnail"][i] = cv2.resize(luma, self.size, interpolation=cv2.INTER_AREA)


@dataclass(frozen=True, slots=True)
class QcSamples(_Described):
    """What the reference's checks see: the first channel of 100 frames as `cv2.VideoCapture` converts them.

    Brightness is the mean of the QC region. Focus is judged on `focus_frames` alone, as in the reference: variance of
    the Laplacian in each focus region, and the mean of the frame with its low frequencies removed, both after the
    histogram is equalised.
    """

    frames: tuple[int, ...]
    region: Region
    focus_frames: tuple[int, ...]
    focus_regions: tuple[Region, ...]
    name: str = "qc_samples"
    ahead: ClassVar[int] = 0
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
        return _within(self.frames, chunk)

    def start(self, chunk: Chunk) -> Accumulator:
        return _QcSamplesOfChunk(self, chunk)


class _QcSamplesOfChunk(_Filling):
    def __init__(self, reducer: QcSamples, chunk: Chunk) -> None:
        wanted = reducer.wanted(chunk)
        super().__init__(wanted, reducer.variables)
        self.reducer = reducer
        self.place = {int(number): i for i, number in enumerate(wanted)}
        self.focus_frames = frozenset(reducer.focus_frames)

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        i = self.place.get(number)
        if i is None:
            return
        picture = np.asarray(frame.to_ndarray(format="bgr24", interpolation="BICUBIC"), np.uint8)
        blue = np.ascontiguousarray(picture[:, :, 0])
        self._arrays["sample_brightness"][i] = self.reducer.region.of(blue).mean()
        if number in self.focus_frames:
            equalised = np.asarray(cv2.equalizeHist(blue), np.uint8)
            self._arrays["sample_laplacian"][i] = laplacian_variances(equalised, self.reducer.focus_regions)
            self._arrays["sample_high_frequency"][i] = high_frequency_mean(equalised)


def laplacian_variances(image: NDArray[np.uint8], regions: Sequence[Region]) -> list[float]:
    """Return the variance of the Laplacian in each region."""
    laplacian = np.asarray(cv2.Laplacian(image, cv2.CV_16S, ksize=1))
    return [float(region.of(laplacian).var()) for region in regions]


def high_frequency_mean(image: NDArray[np.uint8], half_side: int = 60) -> float:
    """Return the mean of an image whose low frequencies are removed, scaled to 0..256.

    Parameters
    ----------
    image : (y, x) uint8
        Frame with an equalised histogram.
    half_side : int
        Frequencies from -half_side up to but not including +half_side go, on both axes: 60 in the reference.
    """
    from scipy import fft

    spectrum = fft.fft2(image.astype(np.float32))
    rows, columns = (np.fft.fftfreq(n, 1 / n).round() for n in image.shape)
    low_rows, low_columns = ((f >= -half_side) & (f < half_side) for f in (rows, columns))
    spectrum[np.ix_(low_rows, low_columns)] = 0
    magnitude = np.abs(fft.ifft2(spectrum, overwrite_x=True)).astype(np.float32)
    scaled = cv2.normalize(magnitude, np.empty(0), 0, 256, cv2.NORM_MINMAX, cv2.CV_8U)
    return float(np.mean(scaled))


def _within(frames: tuple[int, ...], chunk: Chunk) -> NDArray[np.int64]:
    unique = np.unique(np.array(frames, np.int64))
    return unique[(unique >= chunk.start) & (unique < chunk.stop)]


def sample_frames(n_frames: int, n_samples: int = 100) -> NDArray[np.int64]:
    """Return the frames that the checks look at: `linspace(100, n - 100)`, as the reference samples them.

    Videos too short for that (the reference samples them backwards, or beyond their ends) are sampled from end to end.
    """
    if n_frames > 200:
        return np.linspace(100, n_frames - 100, n_samples).astype(np.int64)
    return np.linspace(0, n_frames - 1, min(n_samples, n_frames)).astype(np.int64)


def focus_samples(n_samples: int, n_focus: int = 20) -> NDArray[np.int64]:
    """Return which of the samples are judged for focus: indices into the samples."""
    return np.unique(np.linspace(0, n_samples - 1, n_focus, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a frame pass over a chunk leaves behind."""

    chunk: Chunk
    """The frames it stands for."""
    arrays: dict[str, NDArray[Any]]
    """`reducer/variable` -> values at the reducer's frames of the chunk."""
    decode_error: NDArray[np.bool_]
    """True where a frame did not decode. (frame,)"""
    n_decoded: int = 0
    """Frames that came out of the decoder, those ahead of the chunk included."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """Reducer -> its fingerprint."""
