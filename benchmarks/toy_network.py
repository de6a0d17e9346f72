"""Train the toy network of `ibl_dask/pose/toy`: keypoints of the synthetic mouse, in numpy, on a CPU, in minutes.

    python benchmarks/toy_network.py toy_mouse.onnx [--steps 1200]

needs the package onnx to write the file, and prints its SHA-256 and the error on frames of scenes that it was not
trained on. It is fastest with OPENBLAS_NUM_THREADS=1. The network is fully convolutional: gray pictures of 128 x 160
px, strides of 2 and 4, then three layers whose cells lie 1, 2 and 4 apart, and a map of 64 x 80 cells per keypoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.pose.engines.onnx_adapter import activated, peaks, resized
from ibl_dask.synth.scene import FULL_SIZE, Scene
from ibl_dask.synth.scene_motion import SceneState, side_keypoints

HEIGHT, WIDTH = 128, 160
"""Size of the network's input, px."""
CELL = 2
"""Input px per cell of a map."""
KEYPOINTS = tuple(side_keypoints(SceneState()))
SIGMA_CELLS = 1.2
"""Width of the Gaussian around a keypoint that the maps are trained to."""
SHIFT_PX = 10
"""Largest shift of a training picture, input px: keypoints are to be found, wherever they are."""
LAYERS = ((1, 12, 2, 1), (12, 24, 2, 1), (24, 24, 1, 1), (24, 24, 1, 2), (24, 24, 1, 4))
"""Channels in and out, stride and dilation of each layer of 3 x 3 cells."""

Floats = NDArray[np.float32]


def pictures(seeds: range, per_seed: int) -> tuple[Floats, Floats]:
    """Return pictures (picture, y, x), 0 to 1, and keypoints (picture, keypoint, 2) in input px, NaN where not seen."""
    found, places = [], []
    for seed in seeds:
        generator = np.random.default_rng(seed)
        label = "left" if seed % 3 else "right"
        scene = Scene(label, *FULL_SIZE[label], seed=seed)
        for number in range(per_seed):
            tongue = generator.uniform(0, 1) if generator.uniform() < 0.5 else 0.0
            state = SceneState(generator.uniform(0, 6), tongue, generator.uniform(-1, 1), generator.uniform(0, 1))
            frame = scene.draw(number, state)
            frame = frame[:, ::-1] if label == "right" else frame
            found.append(resized(frame.astype(np.float32)[None, ..., None], HEIGHT, WIDTH)[0, ..., 0] / 255)
            at = [(np.nan, np.nan) if point is None else point for point in side_keypoints(state).values()]
            # Centres of pixels of the full scene of 1280 x 1024, and of the input.
            places.append((np.array(at) + 0.5) * (WIDTH / 1280, HEIGHT / 1024) - 0.5)
    return np.array(found, np.float32), np.array(places, np.float32)


def shifted(frames: Floats, places: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Return pictures that are moved and lit otherwise, with their keypoints."""
    moved, at = np.empty_like(frames), places.copy()
    for number, frame in enumerate(frames):
        dy, dx = generator.integers(-SHIFT_PX, SHIFT_PX + 1, 2)
        padded = np.pad(frame, SHIFT_PX, mode="edge")
        moved[number] = padded[SHIFT_PX - dy : SHIFT_PX - dy + HEIGHT, SHIFT_PX - dx : SHIFT_PX - dx + WIDTH]
        at[number] += (dx, dy)
    gain, offset = generator.uniform(0.7, 1.3, (len(frames), 1, 1)), generator.uniform(-0.08, 0.08, (len(frames), 1, 1))
    return np.clip(moved * gain + offset, 0, 1).astype(np.float32), at


def targets(places: Floats) -> Floats:
    """Return maps with a Gaussian at each keypoint. (keypoint, picture, y, x)"""
    rows, columns = np.mgrid[: HEIGHT // CELL, : WIDTH // CELL]
    cells = ((places + 0.5) / CELL - 0.5).transpose(1, 0, 2)[..., None, None, :]
    distance = (columns - cells[..., 0]) ** 2 + (rows - cells[..., 1]) ** 2
    return np.nan_to_num(np.exp(-distance / (2 * SIGMA_CELLS**2))).astype(np.float32)


class Network:
    """Layers with their gradients; arrays are (channel, picture, y, x)."""

    def __init__(self, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        shapes = [(out, given, 3, 3) for given, out, _, _ in LAYERS] + [(4 * len(KEYPOINTS), LAYERS[-1][1], 1, 1)]
        self.weights = [
            generator.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32) for shape in shapes
        ]
        self.biases = [np.zeros(shape[0], np.float32) for shape in shapes]
        self.biases[-1] -= 4  # keypoints are rare
        self._inputs: list[Floats] = []

    def maps(self, frames: Floats) -> Floats:
        """Return the maps of pictures, before the activation. (keypoint, picture, y, x)"""
        x = frames[None] - np.float32(0.4)
        self._inputs = []
        for (_, _, stride, dilation), weight, bias in zip(LAYERS, self.weights, self.biases, strict=False):
            self._inputs.append(x)
            x = np.maximum(convolved(x, weight, stride, dilation) + bias[:, None, None, None], 0)
        self._inputs.append(x)
        x = convolved(x, self.weights[-1], 1, 1) + self.biases[-1][:, None, None, None]
        # Four channels of a keypoint are four cells of its map (DepthToSpace).
        _, n, height, width = x.shape
        blocks = x.reshape(CELL, CELL, len(KEYPOINTS), n, height, width)
        return blocks.transpose(2, 3, 4, 0, 5, 1).reshape(len(KEYPOINTS), n, CELL * height, CELL * width)

    def gradients(self, by_map: Floats) -> list[Floats]:
        """Return the gradients of all weights, then of all biases, from that of the maps."""
        k, n, height, width = by_map.shape
        blocks = by_map.reshape(k, n, height // CELL, CELL, width // CELL, CELL).transpose(3, 5, 0, 1, 2, 4)
        by_output = np.ascontiguousarray(blocks.reshape(4 * k, n, height // CELL, width // CELL))
        by_weight, by_bias = [], []
        for number in reversed(range(len(self.weights))):
            stride, dilation = LAYERS[number][2:] if number < len(LAYERS) else (1, 1)
            given = self._inputs[number]
            by_bias.append(by_output.sum(axis=(1, 2, 3)))
            weight, by_input = convolved_back(given, self.weights[number], by_output, stride, dilation)
            by_weight.append(weight)
            by_output = by_input * (given > 0)
        return by_weight[::-1] + by_bias[::-1]


def taps(size: int, dilation: int) -> list[tuple[int, int, int, int]]:
    """Return row and column of each weight of a layer, and its offsets in a padded picture."""
    return [(row, column, row * dilation, column * dilation) for row in range(size) for column in range(size)]


def convolved(x: Floats, weight: Floats, stride: int, dilation: int) -> Floats:
    """Return a convolution of pictures that are padded with 0."""
    size = weight.shape[2]
    margin = dilation * (size // 2)
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    height, width = x.shape[2] // stride, x.shape[3] // stride
    out = np.zeros((weight.shape[0], x.shape[1] * height * width), np.float32)
    for row, column, down, across in taps(size, dilation):
        part = padded[:, :, down : down + stride * height : stride, across : across + stride * width : stride]
        out += weight[:, :, row, column] @ part.reshape(x.shape[0], -1)
    return out.reshape(weight.shape[0], x.shape[1], height, width)


def convolved_back(x: Floats, weight: Floats, by_output: Floats, stride: int, dilation: int) -> tuple[Floats, Floats]:
    """Return the gradients of the weights and of the input of `convolved`."""
    size = weight.shape[2]
    margin = dilation * (size // 2)
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    by_padded, by_weight = np.zeros_like(padded), np.zeros_like(weight)
    _, n, height, width = by_output.shape
    flat = by_output.reshape(by_output.shape[0], -1)
    for row, column, down, across in taps(size, dilation):
        at = (
            slice(None),
            slice(None),
            slice(down, down + stride * height, stride),
            slice(across, across + stride * width, stride),
        )
        by_weight[:, :, row, column] = flat @ padded[at].reshape(x.shape[0], -1).T
        by_padded[at] += (weight[:, :, row, column].T @ flat).reshape(x.shape[0], n, height, width)
    end = (margin or None) and -margin
    return by_weight, by_padded[:, :, margin:end, margin:end]


def train(network: Network, frames: Floats, places: Floats, steps: int, batch: int = 8) -> None:
    """Fit the network to its targets by Adam (Kingma & Ba 2015), on the cross entropy of each cell."""
    generator = np.random.default_rng(1)
    parameters = [*network.weights, *network.biases]
    first, second = ([np.zeros_like(one) for one in parameters] for _ in range(2))
    start = time.monotonic()
    for step in range(1, steps + 1):
        chosen = generator.integers(0, len(frames), batch)
        given, at = shifted(frames[chosen], places[chosen], generator)
        wanted = targets(at)
        likely = activated(network.maps(given), "sigmoid")
        gradients = network.gradients((likely - wanted).astype(np.float32) / batch)
        rate = 3e-3 * min(1, step / 20) * 0.5 * (1 + np.cos(np.pi * step / steps))
        for number, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            first[number] += 0.1 * (gradient - first[number])
            second[number] += 0.001 * (gradient**2 - second[number])
            mean, spread = first[number] / (1 - 0.9**step), second[number] / (1 - 0.999**step)
            parameter -= (rate * mean / (np.sqrt(spread) + 1e-8)).astype(np.float32)
        if step % 50 == 0:
            print(
                f"step {step}: {np.abs(likely - wanted).sum() / batch:.1f}, {time.monotonic() - start:.0f} s",
                flush=True,
            )


def report(network: Network, frames: Floats, places: Floats) -> None:
    """Print the error of each keypoint in pixels of a frame of 1280 x 1024."""
    found = []
    for start in range(0, len(frames), 16):
        maps = network.maps(frames[start : start + 16]).transpose(1, 0, 2, 3)
        x, y, likelihood = peaks(maps, activated(maps, "sigmoid"))
        found.append(np.stack([(x + 0.5) * CELL - 0.5, (y + 0.5) * CELL - 0.5, likelihood], axis=2))
    rows = np.concatenate(found)
    error = np.linalg.norm(rows[..., :2] - places, axis=2) * 1280 / WIDTH
    for number, name in enumerate(KEYPOINTS):
        is_seen = np.isfinite(places[:, number, 0])
        likelihood = f"likelihood {rows[is_seen, number, 2].mean():.2f}"
        if not is_seen.all():
            likelihood += f", {rows[~is_seen, number, 2].mean():.2f} where not seen"
        median, most = np.percentile(error[is_seen, number], [50, 95])
        print(f"{name}: {median:.1f} px in the median, {most:.1f} px in 95 %, {likelihood}")


def write(network: Network, path: Path) -> None:
    """Write the network as ONNX, with its keypoints and options in its metadata."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = [helper.make_node("Sub", ["frames", "mean"], ["value"])]
    constants = [numpy_helper.from_array(np.float32(0.4), "mean")]
    last, name = len(network.weights) - 1, "value"
    for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        constants += [numpy_helper.from_array(weight, f"w{number}"), numpy_helper.from_array(bias, f"b{number}")]
        stride, dilation = LAYERS[number][2:] if number < last else (1, 1)
        margin = dilation * (weight.shape[2] // 2)
        # A stride takes every second cell from the first on, as `convolved`.
        attributes = {"strides": [stride] * 2, "dilations": [dilation] * 2, "pads": [margin] * 4}
        nodes.append(helper.make_node("Conv", [name, f"w{number}", f"b{number}"], [f"c{number}"], **attributes))
        name = f"c{number}"
        if number < last:
            nodes.append(helper.make_node("Relu", [name], [f"r{number}"]))
            name = f"r{number}"
    nodes.append(helper.make_node("DepthToSpace", [name], ["maps"], blocksize=CELL, mode="DCR"))
    graph = helper.make_graph(
        nodes,
        "toy_mouse",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["n", 1, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info(
                "maps", TensorProto.FLOAT, ["n", len(KEYPOINTS), HEIGHT // CELL, WIDTH // CELL]
            )
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content = {"keypoints": KEYPOINTS, "options": {"activation": "sigmoid", "batch": 32}}
    model.metadata_props.add(key="ibl_dask", value=json.dumps(content))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    data = path.read_bytes()
    print(f"{path}: {len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    arguments = parser.parse_args()
    network = Network()
    train(network, *pictures(range(24), 16), steps=arguments.steps)
    report(network, *pictures(range(100, 106), 10))
    write(network, arguments.path)


if __name__ == "__main__":
    main()
