"""What a frame pass makes of the frames: one small class per product.

A reducer says which frames it gives numbers for and what its numbers mean. A chunk shows it the frames of the chunk and
no others; what depends on frames of two chunks is computed when these are put together, from what each kept of its
ends. Given the same frames it returns the same bytes, however the video was cut into chunks.

Brightness is on one scale, whatever the format of a video: 16 is black, 235 white (`pixels.levels`). Only what the
reference computes of colours (`QcSamples`, `FaceMatch`) is on its scale, 0 to 255, on which its thresholds are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ibl_dask.model.region import Region
from ibl_dask.model.step import fingerprint
from ibl_dask.video.pixels import levels
from ibl_dask.video.reducers.reference_frame import ReferenceFrame, face_finder, is_sharp_at, sharp_places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        """Return the values at the reducer's frames of this chunk, NaN where a frame was left out.

        There may be more arrays than variables: what a joiner needs of the ends of the chunk.
        """


class Joiner(Protocol):
    """Puts what the accumulators of consecutive chunks returned together."""

    def add(self, chunk: Chunk, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take the arrays of the next chunk."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the values of each variable at the reducer's frames of the whole video."""


@runtime_checkable
class Reducer(Protocol):
    """Turns the frames of a camera into numbers."""

    @property
    def name(self) -> str:
        """Return the name, unique within a pass."""

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

    def join(self) -> Joiner:
        """Return an empty joiner."""


class _Described:
    """Fingerprint of a reducer: its name, version and every parameter. Its chunks are joined end to end."""

    version: ClassVar[int] = 1
    variables: ClassVar[Any]

    def fingerprint(self) -> str:
        return fingerprint(type(self).__name__, self.version, **asdict(self))  # type: ignore[call-overload]  # every reducer is a dataclass

    def join(self) -> Joiner:
        return _EndToEnd(self.variables)


class _EndToEnd:
    """One chunk after the other."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._parts: dict[str, list[NDArray[Any]]] = {variable.name: [] for variable in variables}

    def add(self, chunk: Chunk, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name, parts in self._parts.items():
            parts.append(arrays[name])

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate(parts) for name, parts in self._parts.items()}


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

    version: ClassVar[int] = 2

    region: Region
    name: str = "brightness"
    frame_dim: ClassVar[str] = "frame"

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (Variable(self.name, "float32", "1", "mean luma of the QC region, 16 black, 235 white"),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return np.arange(chunk.start, chunk.stop)

    def start(self, chunk: Chunk) -> Accumulator:
        return _BrightnessOfChunk(self, chunk)


class _BrightnessOfChunk(_Filling):
    def __init__(self, reducer: Brightness, chunk: Chunk) -> None:
        super().__init__(reducer.wanted(chunk), reducer.variables)
        self.region, self.n_pixels = reducer.region, reducer.region.n_pixels
        self.values = self._arrays[reducer.name]

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        import cv2

        mean = cv2.sumElems(self.region.of(luma))[0] / self.n_pixels
        self.values[number - self.first] = levels(frame).brightness(mean)


@dataclass(frozen=True, slots=True)
class MotionEnergy(_Described):
    """Mean absolute luma difference of a region between a frame and the one `lag` frames later.

    The value stands at the earlier frame; the last `lag` frames have none. A chunk keeps the region of its first and
    last `lag` frames, so that no frame is decoded twice for the differences across a border.
    """

    version: ClassVar[int] = 3

    region: Region
    label: str = "wheel"
    lag: int = 2
    frame_dim: ClassVar[str] = "frame"

    @property
    def name(self) -> str:
        return f"motion_energy_{self.label}"

    @property
    def variables(self) -> tuple[Variable, ...]:
        text = f"mean absolute luma difference of the {self.label} region to the frame {self.lag} later"
        return (Variable(self.name, "float32", "1", text),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return np.arange(chunk.start, chunk.stop)

    def start(self, chunk: Chunk) -> Accumulator:
        return _MotionEnergyOfChunk(self, chunk)

    def join(self) -> Joiner:
        return _MotionEnergyOfVideo(self)


class _MotionEnergyOfChunk(_Filling):
    def __init__(self, reducer: MotionEnergy, chunk: Chunk) -> None:
        super().__init__(reducer.wanted(chunk), reducer.variables)
        self.region, self.lag = reducer.region, reducer.lag
        self.values = self._arrays[reducer.name]
        self.inner = range(chunk.start + reducer.lag, chunk.stop - reducer.lag)
        # Copies, as a view would keep its whole frame from being used again by the decoder.
        self.recent: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=reducer.lag + 1)
        self.ends: dict[int, NDArray[np.uint8]] = {}
        self.gains: list[float] = []
        """What a difference of 1 stands for in each of the frames at the ends."""

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        now, gain = self.region.of(luma).copy(), levels(frame).gain
        if number not in self.inner:
            self.ends[number] = now
            self.gains.append(gain)
        self.recent.append((number, now))
        earlier, before = self.recent[0]
        while earlier < number - self.lag:
            self.recent.popleft()
            earlier, before = self.recent[0]
        if earlier == number - self.lag:
            self.values[earlier - self.first] = gain * _mean_difference(now, before)

    def arrays(self) -> dict[str, NDArray[Any]]:
        height, width = (self.region.bottom - self.region.top, self.region.right - self.region.left)
        pictures = np.empty((len(self.ends), height, width), np.uint8)
        for i, picture in enumerate(self.ends.values()):
            pictures[i] = picture
        ends = {"end_frames": np.array(list(self.ends), np.int64), "end_gains": np.array(self.gains, np.float64)}
        return {**self._arrays, **ends, "end_pictures": pictures}


class _MotionEnergyOfVideo(_EndToEnd):
    """Differences across the borders of chunks; at most `2 * lag` frames are held."""

    def __init__(self, reducer: MotionEnergy) -> None:
        super().__init__(reducer.variables)
        self.name, self.lag = reducer.name, reducer.lag
        self.recent: dict[int, NDArray[np.uint8]] = {}
        self.across: dict[int, float] = {}

    def add(self, chunk: Chunk, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().add(chunk, {self.name: arrays[self.name]})
        ends = (arrays["end_frames"].tolist(), arrays["end_gains"].tolist(), arrays["end_pictures"])
        for number, gain, now in zip(*ends, strict=True):
            before = self.recent.get(number - self.lag)
            if before is not None and number - self.lag < chunk.start:
                self.across[number - self.lag] = gain * _mean_difference(now, before)
            self.recent[number] = now
        self.recent = {number: now for number, now in self.recent.items() if number >= chunk.stop - self.lag}

    def arrays(self) -> dict[str, NDArray[Any]]:
        values = super().arrays()
        for number, value in self.across.items():
            values[self.name][number] = value
        return values


def _mean_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    import cv2

    return cv2.norm(one, other, cv2.NORM_L1) / one.size


@dataclass(frozen=True, slots=True)
class Sharpness(_Described):
    """Variance of the Laplacian of the half-resolution luma, every `stride` frames."""

    version: ClassVar[int] = 2

    stride: int = 50
    name: str = "sharpness"
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
            self.values[(number - self.first) // self.stride] = levels(frame).variance(sharpness(luma))


def sharpness(luma: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of a frame at half resolution."""
    import cv2

    height, width = luma.shape
    half = cv2.resize(luma, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(half, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2


@dataclass(frozen=True, slots=True)
class Thumbnails(_Described):
    """A few small pictures, for people."""

    version: ClassVar[int] = 2

    frames: tuple[int, ...]
    width: int
    height: int
    name: str = "thumbnails"
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
        import cv2

        i = self.place.get(number)
        if i is not None:
            small = np.asarray(cv2.resize(luma, self.size, interpolation=cv2.INTER_AREA), np.uint8)
            self._arrays["thumbnail"][i] = levels(frame).picture(small)


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
        self.first_channel = _FirstChannel()

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        import cv2

        i = self.place.get(number)
        if i is None:
            return
        blue = self.first_channel(frame)
        self._arrays["sample_brightness"][i] = self.reducer.region.of(blue).mean()
        if number in self.focus_frames:
            equalised = np.asarray(cv2.equalizeHist(blue), np.uint8)
            self._arrays["sample_laplacian"][i] = laplacian_variances(equalised, self.reducer.focus_regions)
            self._arrays["sample_high_frequency"][i] = high_frequency_mean(equalised)


class _FirstChannel:
    """Takes the first channel of frames as `cv2.VideoCapture` converts them."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._converter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        # One converter for all frames, and no threads of its own: setting these up costs more than the conversion.
        import cv2

        picture = self._converter.reformat(frame, format="bgr24", interpolation="BICUBIC", threads=1)
        return np.asarray(cv2.extractChannel(np.asarray(picture.to_ndarray(), np.uint8), 0), np.uint8)


@dataclass(frozen=True, slots=True)
class FaceMatch(_Described):
    """Where sampled frames show the face of a reference frame, and whether it is in focus there.

    The reference judges focus where the median of all frames shows the face, which nobody knows before the last of
    them. So each frame that is judged for focus keeps one bit for every place the face could be at, and the joiner
    picks one.
    """

    frames: tuple[int, ...]
    """Frames to look at, as often as each counts for the median."""
    focus_frames: tuple[int, ...]
    """Those judged for focus."""
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
        return _within(self.frames, chunk)

    def start(self, chunk: Chunk) -> Accumulator:
        return _FaceMatchOfChunk(self, chunk)

    def join(self) -> Joiner:
        return _FaceMatchOfVideo(self)


class _FaceMatchOfChunk(_Filling):
    def __init__(self, reducer: FaceMatch, chunk: Chunk) -> None:
        wanted = reducer.wanted(chunk)
        super().__init__(wanted, reducer.variables)
        self.place = {int(number): i for i, number in enumerate(wanted)}
        self.focus_frames = frozenset(reducer.focus_frames)
        self.finder = face_finder(reducer.reference)
        self.first_channel = _FirstChannel()
        self.sharp: dict[int, NDArray[np.uint8]] = {}
        face, height, width = reducer.reference.face, reducer.reference.height, reducer.reference.width
        self.height, self.width = face.bottom - face.top, face.right - face.left
        self.n_bytes = -(-(height - self.height + 1) * (width - self.width + 1) // 8)

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        import cv2

        i = self.place.get(number)
        if i is None:
            return
        image = self.first_channel(frame)
        found = self.finder.find(image)
        values = {
            "face_x": found.x,
            "face_y": found.y,
            "face_score": found.score,
            "histogram_correlation": self.finder.histogram_correlation(image),
        }
        if number in self.focus_frames:
            equalised = np.asarray(cv2.equalizeHist(image), np.uint8)
            region = Region(found.y, found.y + self.height, found.x, found.x + self.width)
            (values["face_laplacian"],) = laplacian_variances(equalised, [region])
            self.sharp[i] = sharp_places(equalised, self.height, self.width)
        for name, value in values.items():
            self._arrays[name][i] = value

    def arrays(self) -> dict[str, NDArray[Any]]:
        bits = np.array(list(self.sharp.values()), np.uint8).reshape(len(self.sharp), self.n_bytes)
        return {**self._arrays, "sharp_samples": np.array(list(self.sharp), np.int64), "sharp_places": bits}


class _FaceMatchOfVideo(_EndToEnd):
    """Picks the answers for the median match; holds the bits of the frames that are judged for focus, 2 MB at most."""

    def __init__(self, reducer: FaceMatch) -> None:
        super().__init__(reducer.variables)
        self.reducer = reducer
        self.n_samples = 0
        self.samples: list[NDArray[np.int64]] = []
        self.bits: list[NDArray[np.uint8]] = []

    def add(self, chunk: Chunk, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().add(chunk, arrays)
        self.samples.append(arrays["sharp_samples"] + self.n_samples)
        self.bits.append(arrays["sharp_places"])
        self.n_samples += len(arrays["face_x"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        values = super().arrays()
        samples = np.concatenate(self.samples)
        if len(samples):
            x, y = median_place(values["face_x"], values["face_y"], self.reducer.frames)
            face, width = self.reducer.reference.face, self.reducer.reference.width
            place = round(y) * (width - (face.right - face.left) + 1) + round(x)
            values["face_is_sharp"][samples] = is_sharp_at(np.concatenate(self.bits), place)
        return values


def median_place(x: NDArray[np.float64], y: NDArray[np.float64], frames: Sequence[int]) -> tuple[float, float]:
    """Return the median match of the frames that decode, px; NaN where none does.

    Parameters
    ----------
    x, y : (sample,)
        Matches of the frames, each frame once.
    frames : sequence of int
        The same frames, as often as each counts.
    """
    place = np.searchsorted(np.unique(np.array(frames)), frames)
    known = place[~np.isnan(x[place])]
    if len(known) == 0:
        return np.nan, np.nan
    return float(np.median(x[known])), float(np.median(y[known]))


def laplacian_variances(image: NDArray[np.uint8], regions: Sequence[Region]) -> list[float]:
    """Return the variance of the Laplacian in each region."""
    import cv2

    laplacian = np.asarray(cv2.Laplacian(image, cv2.CV_16S, ksize=1))
    return [float(region.of(laplacian).var()) for region in regions]


_NO_DETAIL = 1e-3
"""Grey levels that rounding leaves of an image without any detail; to scale these up would make them the sharpest."""


def high_frequency_mean(image: NDArray[np.uint8], half_side: int = 60) -> float:
    """Return the mean of an image whose low frequencies are removed, scaled to 0..256.

    Parameters
    ----------
    image : (y, x) uint8
        Frame with an equalised histogram.
    half_side : int
        Frequencies from -half_side up to but not including +half_side go, on both axes: 60 in the reference.

    Returns
    -------
    float
        0 where nothing is left.
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
    """`reducer/array` -> what the reducer's accumulator returned."""
    decode_error: NDArray[np.bool_]
    """True where a frame did not decode. (frame,)"""
    n_decoded: int = 0
    """Frames of the chunk that came out of the decoder."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """Reducer -> its fingerprint."""
