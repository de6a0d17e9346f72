"""Engine for networks in ONNX: heatmaps or points of single animals, or the segmentation of a pupil.

The output is read as one of

`heatmap`
    one map per keypoint. The peak is the largest cell; x and y are refined by a parabola through the logarithms of the
    cell and its two neighbours in each direction, which is exact for a Gaussian. Where `offsets_name` names an output
    with offsets (x and y of each keypoint in turn, as location refinement of DeepLabCut), these are taken instead. The
    likelihood is the peak.
`points`
    x, y and likelihood of each keypoint, px of the network's input: networks that find their peaks themselves. Points
    are moved to the frame by the factor between the two sizes alone, as Lightning Pose and SLEAP do.
`segmentation`
    one map of a pupil. The largest part that is connected by sides, of pixels at or above `threshold`, is the pupil;
    its top, right, bottom and left point lie in the column and row of its centroid, where the map crosses the
    threshold (linear between two pixels). The likelihood is the mean of the map over the part.

A network with `context` takes consecutive frames and gives a row to each that has that many on both sides. The first
and last frames of a video take the row of the nearest one that has them, as in Lightning Pose.

With `runtime: tensorrt` the network runs in an engine that TensorRT builds for one kind of GPU. Two builds of one
network differ, so workers share the one in `engine_folder`: it is built once, under a lock, and its digest is part of
the declared build.

`OPTIONS` lists the options. Sizes and layouts that the network declares need no option, nor do options and names of
keypoints in its metadata, under the key `ibl_dask`: `{"keypoints": [...], "options": {...}}`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Array = Any

OPTIONS = {
    "output": "heatmap (default), points or segmentation",
    "output_name": "name of the output with maps or points; default: the first",
    "output_layout": "nchw (default) or nhwc",
    "offsets_name": "name of the output with offsets; default: none",
    "offsets_px": "length of an offset of 1, px of the network's input; default 1",
    "layout": "nchw or nhwc; default: from the network's input",
    "colour": "rgb, bgr or gray; default: rgb, or gray for one channel",
    "input_size": "[height, width] of the network's input; default: from the network, else that of the frames",
    "scale": "factor on pixels of 0 to 255, before `mean`; default 1/255, or 1 for a network that takes whole numbers",
    "mean": "mean of each colour, subtracted; default 0",
    "std": "standard deviation of each colour, divided by; default 1",
    "activation": "none (default), sigmoid, softmax over the pixels of a map, or clip to 0 to 1",
    "stride": "px of the network's input per cell of a map; default: from the sizes",
    "cell_offset_px": "centre of the first cell in the network's input, px; default (stride - 1) / 2",
    "refine": "parabola (default) or none",
    "threshold": "of a segmentation, default 0.5",
    "context": "frames to each side that a row needs, of a network that takes consecutive frames; default 0",
    "batch": "frames at once to begin with, default 16",
    "threads": "threads of the CPU, default 1",
    "runtime": "onnxruntime (default), or tensorrt on GPUs",
    "precision": "of tensorrt: fp32 (default) or fp16",
    "engine_folder": "of tensorrt: a folder for its engines, on a disk that all workers see",
}
"""Name of an option -> its values."""
PUPIL = ("pupil_top_r", "pupil_right_r", "pupil_bottom_r", "pupil_left_r")
"""Names of the points of a segmentation: the right of the picture is its larger x."""
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
TOLERANCE_PX = {"cpu": 1e-4, "cuda": 0.05}
"""Largest difference between batches of different sizes: sums are added in another order."""
TENSORRT = "TensorrtExecutionProvider"
POINTS_TOLERANCE_PX = {"cpu": 1e-3, "cuda": 0.05}
"""The same of points that are sums over whole maps."""
TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
"""Types of the network's input that are taken."""
PROBE_PX = 128
"""Height and width of the frame that an engine is tried with, where the network takes any."""


class EngineError(Exception):
    """Error that a user can mend."""

    def __init__(self, what: str, category: str, expected: str = "", got: str = "", do: str = "") -> None:
        super().__init__(what)
        self.category, self.expected, self.got, self.do = category, expected, got, do


class OnnxEngine:
    """A network with its session."""

    def __init__(self, session: Any, options: dict[str, Any], keypoints: list[str], device: str, version: str) -> None:
        self._session, self._options, self._device = session, options, device
        self.build = f"onnxruntime {version} {session.get_providers()[0]}"
        given = session.get_inputs()[0]
        self._input, shape = given.name, list(given.shape)
        if len(shape) not in (4, 5) or len(session.get_inputs()) != 1:
            raise EngineError(
                "this network takes no frames",
                "environment",
                "one input (batch, channel, y, x), or (batch, frame, channel, y, x) for frames in context",
                f"{len(session.get_inputs())} inputs, the first {shape}",
                "export the network alone, without the code around it",
            )
        self._halo = (int(shape[1]) - 1) // 2 if len(shape) == 5 else 0
        self._context = int(options.get("context", 0))
        if self._context:
            if self._halo or isinstance(shape[0], int):
                raise _wrong_option("context", f"{self._context}, for an input {shape}")
            self._halo = 2 * self._context  # a copied row depends on as many
        self._batch = shape[0] if isinstance(shape[0], int) else None
        if options.get("runtime") == "tensorrt":
            if self._context:
                raise _wrong_option("runtime", f"tensorrt, for a network with context {self._context}")
            self._batch = self._batch or int(options.get("batch", 16))  # each size would be an engine of its own
        frame = shape[-3:]
        layout = options.get("layout") or ("nhwc" if frame[2] in (1, 3) and frame[0] not in (1, 3) else "nchw")
        self._is_nchw = layout == "nchw"
        channels, sides = (frame[0], frame[1:]) if self._is_nchw else (frame[2], frame[:2])
        self._colour = options.get("colour") or ("gray" if channels == 1 else "rgb")
        n_channels = 1 if self._colour == "gray" else 3
        if channels not in (1, 3) or channels < n_channels:
            raise _wrong_option("colour", f"{self._colour} for {channels} channels")
        self._n_channels = channels
        fixed = tuple(sides) if all(isinstance(side, int) for side in sides) else None
        asked = options.get("input_size")
        self._size = tuple(int(side) for side in asked) if asked else fixed
        if fixed and self._size != fixed:
            raise _wrong_option("input_size", f"{list(self._size or ())}, for a network of {list(fixed)}")
        self._type = TYPES.get(given.type)
        if self._type is None:
            raise EngineError(
                "this network takes no pixels", "environment", "an input of " + ", ".join(sorted(TYPES)), given.type
            )
        self._scale = float(options.get("scale", 1 if self._type == "uint8" else 1 / 255))
        self._mean, self._std = (
            _per_colour(options, name, n_channels, value) for name, value in (("mean", 0), ("std", 1))
        )
        outputs = [output.name for output in session.get_outputs()]
        self._maps = options.get("output_name") or outputs[0]
        self._offsets = options.get("offsets_name")
        for name in filter(None, (self._maps, self._offsets)):
            if name not in outputs:
                raise _wrong_option("output_name", "{}, of {}".format(name, ", ".join(outputs)))
        self._output = options.get("output", "heatmap")
        self._keypoints = keypoints or (list(PUPIL) if self._output == "segmentation" else [])
        if not self._keypoints:
            raise EngineError(
                "the keypoints of this network have no names",
                "usage",
                "`keypoints:` of the engine in the site profile, or in the network's metadata",
                "neither",
                "write `keypoints: [nose_tip, ...]`, in the order of the maps",
            )
        height, width = self._size or (PROBE_PX, PROBE_PX)
        self.predict(np.zeros((2 * self._halo + 1, height, width, 3), np.uint8), self._halo, self._halo)

    def info(self) -> dict[str, Any]:
        """Return the declaration of the engine."""
        kind = self._device.partition(":")[0]
        return {
            "keypoints": self._keypoints,
            "halo": self._halo,
            "input_size": self._size,
            "colour": self._colour,
            "batch_hint": int(self._options.get("batch", 16)),
            "tolerance_px": (POINTS_TOLERANCE_PX if self._output == "points" else TOLERANCE_PX)[kind],
            "build": self.build,
        }

    def predict(self, frames: Array, before: int, after: int) -> Array:
        """Return the keypoints of the frames between the halos."""
        n_rows = len(frames) - before - after
        if not n_rows:
            return np.zeros((0, len(self._keypoints), 3), np.float32)
        height, width = self._size or frames.shape[1:3]
        rows: Any = slice(None)
        if self._context:
            chosen, rows = frames_in_context(len(frames), before, n_rows, self._context)
            frames = frames[chosen]
        given = self._prepared(frames, height, width)
        if self._halo and not self._context:
            around = np.arange(n_rows)[:, None] + before + np.arange(-self._halo, self._halo + 1)
            given = given[np.clip(around, 0, len(frames) - 1)]
        factors = [frames.shape[2] / width, frames.shape[1] / height]
        if self._output == "points":
            found = self._in_context(self._points(given), given)[rows]
            found[..., :2] *= factors
            return found.astype(np.float32)
        maps, offsets = self._maps_of(given)
        found = self._pupils(maps) if self._output == "segmentation" else self._peaks(maps, offsets, height, width)
        # Centres of pixels lie at half a pixel from the edge in both pictures.
        found[..., :2] = (found[..., :2] + 0.5) * factors - 0.5
        return self._in_context(found, given)[rows].astype(np.float32)

    def _in_context(self, found: Array, given: Array) -> Array:
        """Return rows, once there is one for each frame with its context on both sides."""
        if len(found) != len(given) - 2 * self._context:
            raise EngineError(
                "this network gives rows to other frames",
                "environment",
                f"{2 * self._context} rows fewer than frames, for `context: {self._context}`",
                f"{len(found)} rows for {len(given)} frames",
                "correct `context` under `options:` of the engine in the site profile",
            )
        return found

    def _prepared(self, frames: Array, height: int, width: int) -> Array:
        """Return frames as the network takes them. (frame, channel, y, x) or (frame, y, x, channel)"""
        if self._colour == "gray":
            # ITU-R BT.601 in integers, as OpenCV does: gray pixels keep their value.
            red, green, blue = (frames[..., number].astype(np.int32) for number in range(3))
            frames = ((red * 4899 + green * 9617 + blue * 1868 + 8192) >> 14)[..., None]
        elif self._colour == "bgr":
            frames = frames[..., ::-1]
        pixels = resized(frames.astype(np.float32), height, width) * np.float32(self._scale)
        pixels = (pixels - self._mean) / self._std
        if pixels.shape[3] < self._n_channels:
            pixels = np.repeat(pixels, self._n_channels, axis=3)
        if self._type == "uint8":
            pixels = np.clip(np.rint(pixels), 0, 255)
        return np.ascontiguousarray(np.moveaxis(pixels, 3, 1) if self._is_nchw else pixels, self._type)

    def _run(self, given: Array) -> list[Array]:
        """Return the output with maps or points, and the one with offsets if there is one."""
        names = [self._maps, *([self._offsets] if self._offsets else [])]
        size = self._batch or len(given)
        found: list[list[Array]] = []
        for start in range(0, len(given), size):
            part = given[start : start + size]
            n_missing = size - len(part)
            if n_missing:  # the network takes batches of one size
                part = np.concatenate([part, np.repeat(part[-1:], n_missing, axis=0)])
            answer = self._session.run(names, {self._input: part})
            found.append([output[: len(output) - n_missing] for output in answer])
        return [np.concatenate(parts).astype(np.float32) for parts in zip(*found)]  # noqa: B905  # Python 3.8

    def _maps_of(self, given: Array) -> Any:
        """Return the maps as they are, and the offsets. Both (frame, map, y, x)"""
        joined = self._run(given)
        if self._options.get("output_layout", "nchw") == "nhwc":
            joined = [np.moveaxis(output, 3, 1) for output in joined]
        joined = [output[:, None] if output.ndim == 3 else output for output in joined]
        n_maps = 1 if self._output == "segmentation" else len(self._keypoints)
        if joined[0].ndim != 4 or joined[0].shape[1] != n_maps:
            raise EngineError(
                "this network has other maps than it has keypoints",
                "environment",
                f"{n_maps} maps (frame, map, y, x)",
                f"an output {joined[0].shape}",
                "correct `keypoints:`, or `output_name` and `output_layout` under `options:` in the site profile",
            )
        return joined[0], joined[1] if self._offsets else None

    def _points(self, given: Array) -> Array:
        """Return the points that the network finds itself, px of its input. (row, keypoint, 3)"""
        found = self._run(given)[0]
        if found.ndim != 3 or found.shape[1:] != (len(self._keypoints), 3):
            raise EngineError(
                "this network has other points than it has keypoints",
                "environment",
                f"{len(self._keypoints)} points (frame, keypoint, 3)",
                f"an output {found.shape}",
                "correct `keypoints:`, or `output_name` under `options:` in the site profile",
            )
        found[..., 2] = np.clip(found[..., 2], 0, 1)  # sums of a softmax may exceed 1 by a rounding
        return found.astype(np.float64)

    def _peaks(self, maps: Array, offsets: Array | None, height: int, width: int) -> Array:
        activation = self._options.get("activation", "none")
        is_refined = offsets is None and self._options.get("refine") != "none"
        columns, rows, likelihood = peaks(maps, activated(maps, activation), is_refined)
        strides = [width / maps.shape[3], height / maps.shape[2]]
        if self._options.get("stride"):
            strides = [float(self._options["stride"])] * 2
        found = np.empty((*maps.shape[:2], 3), np.float64)
        for number, (cells, stride) in enumerate(((columns, strides[0]), (rows, strides[1]))):
            found[..., number] = cells * stride + float(self._options.get("cell_offset_px", (stride - 1) / 2))
        if offsets is not None:
            frame, keypoint = np.indices(maps.shape[:2])
            pairs = offsets.reshape(maps.shape[0], maps.shape[1], 2, *maps.shape[2:])
            moved = pairs[frame, keypoint, :, rows.astype(int), columns.astype(int)]
            found[..., :2] += moved * float(self._options.get("offsets_px", 1.0))
        found[..., 2] = likelihood
        return found

    def _pupils(self, maps: Array) -> Array:
        threshold = float(self._options.get("threshold", 0.5))
        likely = activated(maps, self._options.get("activation", "none"))
        found = np.stack([pupil_points(one[0], threshold) for one in likely])
        stride = self._options.get("stride", 1)
        found[..., :2] = found[..., :2] * float(stride) + (float(stride) - 1) / 2
        return found


def frames_in_context(n_frames: int, before: int, n_rows: int, context: int) -> Any:
    """Return the frames that a network with context is given, and for each row its place in the answer.

    Fewer than two contexts before or after the rows are there only where the video begins or ends. A sequence too short
    for one row has its first and last frame repeated.

    Parameters
    ----------
    n_frames : int
        Frames with halo.
    before : int
        Frames of the halo before the rows.
    n_rows : int
        Rows.
    context : int
        Frames to each side that the network needs.
    """
    rows = np.arange(before, before + n_rows)
    if n_frames <= 2 * context:
        first, last = rows[0], rows[-1]
        return np.clip(np.arange(first - context, last + context + 1), 0, n_frames - 1), rows - first
    middles = np.clip(rows, context, n_frames - 1 - context)
    return np.arange(middles[0] - context, middles[-1] + context + 1), middles - middles[0]


def resized(pixels: Array, height: int, width: int) -> Array:
    """Return pictures of another size: bilinear between the centres of pixels, without smoothing before.

    As `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`. (frame, y, x, channel)
    """
    for axis, size in ((1, height), (2, width)):
        length = pixels.shape[axis]
        if length == size:
            continue
        at = np.clip((np.arange(size) + 0.5) * (length / size) - 0.5, 0, length - 1)
        below = np.minimum(at.astype(int), max(length - 2, 0))
        shape = [1, 1, 1, 1]
        shape[axis] = size
        weight = (at - below).astype(np.float32).reshape(shape)
        above = np.minimum(below + 1, length - 1)
        pixels = np.take(pixels, below, axis) * (1 - weight) + np.take(pixels, above, axis) * weight
    return pixels


def activated(maps: Array, activation: str) -> Array:
    """Return maps of probabilities. (frame, map, y, x)"""
    if activation == "sigmoid":
        return 0.5 * (1 + np.tanh(0.5 * maps))  # without overflow
    if activation == "softmax":
        powers = np.exp(maps - maps.max(axis=(2, 3), keepdims=True))
        return powers / powers.sum(axis=(2, 3), keepdims=True)
    if activation == "clip":
        return np.clip(maps, 0, 1)
    return maps


def peaks(maps: Array, likely: Array, is_refined: bool = True) -> Any:
    """Return column, row and likelihood of the largest cell of each map, columns and rows refined. (frame, map) each

    The cell is that of the maps as they are: their likelihoods are equal where an activation saturates.
    """
    n_rows, n_columns = maps.shape[2:]
    best = maps.reshape(*maps.shape[:2], -1).argmax(axis=2)
    rows, columns = best // n_columns, best % n_columns
    frame, number = np.indices(best.shape)
    value = likely[frame, number, rows, columns]
    if not is_refined:
        return columns.astype(np.float64), rows.astype(np.float64), value
    refined = []
    for cells, length, is_row in ((columns, n_columns, False), (rows, n_rows, True)):
        sides = []
        for step in (-1, 1):
            beside = np.clip(cells + step, 0, length - 1)
            sides.append(likely[frame, number, beside, columns] if is_row else likely[frame, number, rows, beside])
        is_inside = (cells > 0) & (cells < length - 1)
        refined.append(cells + np.where(is_inside, parabola(sides[0], value, sides[1]), 0.0))
    return refined[0], refined[1], value


def parabola(left: Array, centre: Array, right: Array) -> Array:
    """Return where a parabola through the logarithms of three values has its peak, -0.5 to 0.5.

    The values themselves are taken where one of them is not positive.
    """
    is_positive = (left > 0) & (centre > 0) & (right > 0)
    a, b, c = (
        np.where(is_positive, np.log(np.where(is_positive, value, 1.0).astype(np.float64)), value.astype(np.float64))
        for value in (left, centre, right)
    )
    curvature = a - 2 * b + c
    return np.clip(np.where(curvature < 0, 0.5 * (a - c) / np.where(curvature < 0, curvature, -1.0), 0.0), -0.5, 0.5)


def pupil_points(map_: Array, threshold: float) -> Array:
    """Return the top, right, bottom and left point of the largest part of a map: x, y, likelihood. (4, 3)"""
    found = np.full((4, 3), np.nan)
    found[:, 2] = 0.0
    part = largest_part(map_ >= threshold)
    if part is None:
        return found
    rows, columns = np.nonzero(part)
    x, y = columns.mean(), rows.mean()
    column, row = _nearest(x, columns), _nearest(y, rows)
    top, bottom = _crossings(map_[:, column], np.flatnonzero(part[:, column]), threshold)
    left, right = _crossings(map_[row], np.flatnonzero(part[row]), threshold)
    found[:, :2] = [[x, top], [right, y], [x, bottom], [left, y]]
    found[:, 2] = min(1.0, float(map_[part].mean(dtype=np.float64)))
    return found


def largest_part(mask: Array) -> Array | None:
    """Return the largest part of a mask that is connected by sides, the uppermost of equals; None for an empty mask."""
    runs: list[tuple[int, int, int]] = []
    parent: list[int] = []

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    above: list[int] = []
    for y in np.flatnonzero(mask.any(axis=1)).tolist():
        edges = np.flatnonzero(np.diff(np.concatenate([[False], mask[y], [False]]).astype(np.int8)))
        here = []
        for start, stop in edges.reshape(-1, 2).tolist():
            number = len(runs)
            runs.append((y, start, stop))
            parent.append(number)
            here.append(number)
            for other in above:
                if runs[other][0] == y - 1 and runs[other][1] < stop and start < runs[other][2]:
                    first, second = sorted((root(number), root(other)))
                    parent[second] = first
        above = here
    if not runs:
        return None
    sizes: dict[int, int] = {}
    for number, (_, start, stop) in enumerate(runs):
        sizes[root(number)] = sizes.get(root(number), 0) + stop - start
    best = max(sizes, key=lambda number: (sizes[number], -number))
    part = np.zeros(mask.shape, bool)
    for number, (y, start, stop) in enumerate(runs):
        if root(number) == best:
            part[y, start:stop] = True
    return part


def _nearest(value: float, among: Array) -> int:
    """Return the element of integers that is nearest to a value: a part may leave out the row of its centroid."""
    return int(among[np.abs(among - value).argmin()])


def _crossings(line: Array, inside: Array, threshold: float) -> tuple[float, float]:
    """Return where a line crosses the threshold before the first and after the last place inside."""
    ends = []
    for place, step in ((int(inside[0]), -1), (int(inside[-1]), 1)):
        outside = place + step
        if not 0 <= outside < len(line):
            ends.append(float(place))
            continue
        high, low = float(line[place]), float(line[outside])
        ends.append(place + step * (high - threshold) / (high - low))
    return ends[0], ends[1]


def _per_colour(options: dict[str, Any], name: str, n_channels: int, default: float) -> Array:
    value = np.atleast_1d(np.asarray(options.get(name, default), np.float32))
    if value.shape not in ((1,), (n_channels,)):
        raise _wrong_option(name, f"{len(value)} numbers for {n_channels} colours")
    return value


def _wrong_option(name: str, got: str) -> EngineError:
    return EngineError(
        f"the option {name} does not fit the network",
        "usage",
        OPTIONS[name],
        got,
        "correct it under `options:` of the engine in the site profile",
    )


def load(weights: str | None, options: dict[str, Any], keypoints: list[str], device: str) -> OnnxEngine:
    """Return an engine that has predicted a frame on the device."""
    import onnxruntime

    for name in options:
        if name not in OPTIONS:
            raise EngineError(f"there is no option {name}", "usage", "one of " + ", ".join(OPTIONS), name)
    kind, _, number = device.partition(":")
    runtime, precision = options.get("runtime", "onnxruntime"), options.get("precision", "fp32")
    if runtime not in ("onnxruntime", "tensorrt") or (runtime == "tensorrt" and kind != "cuda"):
        raise _wrong_option("runtime", f"{runtime} on {device}")
    if precision not in ("fp32", "fp16") or (precision == "fp16" and runtime != "tensorrt"):
        raise _wrong_option("precision", f"{precision} of {runtime}")
    wanted = TENSORRT if runtime == "tensorrt" else PROVIDERS[kind]
    if wanted not in onnxruntime.get_available_providers():
        raise _no_provider(wanted, "this build of onnxruntime has " + ", ".join(onnxruntime.get_available_providers()))
    # Full precision: TF32 would move keypoints, and with other GPUs by other amounts.
    cuda = (PROVIDERS["cuda"], {"device_id": int(number or 0), "use_tf32": 0})
    if runtime == "onnxruntime":
        return _opened(weights, options, keypoints, device, [cuda if kind == "cuda" else wanted])
    with _locked(_engine_folder(str(weights), options, onnxruntime.__version__)) as folder:
        settings = {
            "device_id": int(number or 0),
            "trt_fp16_enable": precision == "fp16",
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(folder),
        }
        # TensorRT has no option for it; its builder and its kernels heed this variable.
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
        with contextlib.suppress(ImportError):
            import tensorrt  # noqa: F401  # loads its libraries, which lie in no search path where pip installed them
        engine = _opened(weights, options, keypoints, device, [(wanted, settings), cuda])
        engine.build += f" {precision} engine {_digest_of_engines(folder)}"
        return engine


def _opened(
    weights: str | None, options: dict[str, Any], keypoints: list[str], device: str, providers: list[Any]
) -> OnnxEngine:
    """Return an engine on the first of some providers, once it ran there."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = int(options.get("threads", 1))
    settings.inter_op_num_threads = 1
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    is_on_gpu = wanted != PROVIDERS["cpu"]
    if is_on_gpu and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # libraries of CUDA that pip installed are in no search path
    try:
        session = onnxruntime.InferenceSession(weights, settings, providers=providers)
    except Exception as error:
        if is_on_gpu and "memory" not in str(error).lower():
            raise _no_provider(wanted, f"{type(error).__name__}: {error}") from error
        raise
    session.disable_fallback()
    if session.get_providers()[0] != wanted:
        raise _no_provider(wanted, "onnxruntime would run it on " + ", ".join(session.get_providers()))
    metadata = json.loads(session.get_modelmeta().custom_metadata_map.get("ibl_dask", "{}"))
    options = {**metadata.get("options", {}), **options}
    # Names of the network come before those of the profile, which are compared with them.
    names = list(metadata.get("keypoints") or keypoints)
    engine = OnnxEngine(session, options, names, device, onnxruntime.__version__)
    if session.get_providers()[0] != wanted:
        raise _no_provider(wanted, "onnxruntime ran it on " + ", ".join(session.get_providers()))
    return engine


def _engine_folder(weights: str, options: dict[str, Any], version: str) -> Path:
    """Return the folder of the engines of a network; another for all that an engine is built from."""
    given = options.get("engine_folder")
    if not given:
        raise _wrong_option("engine_folder", "none, for `runtime: tensorrt`")
    digest = hashlib.sha256(Path(weights).read_bytes())
    digest.update(json.dumps([version, options.get("batch", 16), options.get("precision", "fp32")]).encode())
    return Path(str(given)) / digest.hexdigest()[:32]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Make a folder and hold it for the time of a block: the first worker builds an engine, which others load."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("ab")
    except OSError as error:
        raise _wrong_option("engine_folder", f"{folder}: {error}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield folder


def _digest_of_engines(folder: Path) -> str:
    """Return the digest of the engines in a folder: of each part of a network that TensorRT took."""
    files = sorted(folder.glob("*.engine"))
    if not files:
        raise _no_provider(TENSORRT, "TensorRT took no part of the network")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _no_provider(wanted: str, got: str) -> EngineError:
    return EngineError(
        "onnxruntime does not run"
        if wanted == PROVIDERS["cpu"]
        else "onnxruntime does not run this network on the GPU",
        "environment" if wanted == PROVIDERS["cpu"] else "gpu",
        wanted,
        got,
        "install onnxruntime-gpu in the environment of the engine, with the CUDA and cuDNN that it was built for"
        + (", and the TensorRT" if wanted == TENSORRT else ""),
    )
