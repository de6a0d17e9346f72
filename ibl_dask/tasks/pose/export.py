"""Export of a network to ONNX, and the deviation of keypoints of one engine from those of another."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import AlreadyThere, DecodeFailed, EngineFailed, MissingKeypoints, WrongKeypoints
from ibl_dask.pose.engine import Engine, EngineSettings
from ibl_dask.pose.host.exporting import export_onnx
from ibl_dask.pose.host.warm_engines import open_engine
from ibl_dask.store.atomic import require_writable, writing
from ibl_dask.video.colour import rgb_frames
from ibl_dask.video.container.index import index_video

RUN_FRAMES = 8
"""Frames that are decoded one after another at each of the places in the video."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """Difference of one engine from another on frames of a video: of an exported network from its engine, say."""

    video: str
    """Name of the video."""
    n_frames: int
    """Frames that were predicted by both."""
    likely: float
    """Likelihood from which on a point counts as likely, by the engine that is compared with."""
    n_likely: int
    """Likely points, of all frames and keypoints."""
    largest_px: float
    """Largest distance between the two places of a likely point, px."""
    mean_px: float
    """Mean of these distances, px."""
    largest_px_of_all: float
    """Largest distance of any point, px: a map without a clear peak has its largest cell anywhere."""
    largest_likelihood: float
    """Largest difference of two likelihoods of one point."""
    engine: str
    """Build of the engine that is compared with."""
    other: str
    """Build of the other one, of an export the runtime of ONNX."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A network in ONNX."""

    path: Path
    """The file. It describes itself: a profile names no keypoints and options."""
    sha256: str
    """SHA-256 of the file."""
    source_sha256: str
    """SHA-256 of the weights that it was made of."""
    keypoints: tuple[str, ...]
    """Names of the keypoints."""
    deviation: Deviation
    """Difference from the engine."""


def record_path(path: Path) -> Path:
    """Return the file beside a network in ONNX that has its source and its deviation."""
    return path.with_name(f"{path.name}.json")


def export_network(
    settings: EngineSettings,
    video: Path,
    out: Path,
    *,
    n_frames: int = 64,
    likely: float = 0.9,
    most_px: float = 0.05,
    onnx_python: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write the network of an engine in ONNX, once its keypoints are those of the engine.

    Parameters
    ----------
    settings : EngineSettings
        The engine.
    video : Path
        A video that the network was trained for.
    out : Path
        File to write. `record_path` of it is written as well.
    n_frames : int
        Frames to predict with both, from all over the video.
    likely : float
        Likelihood from which on points have to agree.
    most_px : float
        Largest distance that is accepted, px.
    onnx_python : str, optional
        Python with onnxruntime; by default that of the engine.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    AlreadyThere
        If the file is there.
    MissingKeypoints
        If the network finds no likely point in the video.
    EngineFailed
        If the deviation is larger than accepted; nothing is written then.
    IblDaskError
        If the engine, the video or the folder cannot be used; see `export_onnx` and `index_video`.
    """
    if out.exists() and not overwrite:
        raise AlreadyThere(
            "there is a file of this name",
            where=str(out),
            expected="a new name",
            got="a file that is there",
            do="give another name, or --overwrite to replace it",
        )
    require_writable(out.parent)
    runs = spread_runs(video, n_frames)
    content = export_onnx(settings)
    digest = hashlib.sha256(content).hexdigest()
    with tempfile.TemporaryDirectory(prefix="ibl_dask-export-") as folder:
        path = Path(folder) / out.name
        path.write_bytes(content)
        python = settings.python if onnx_python is None else onnx_python
        made = EngineSettings(f"{settings.name} in ONNX", "onnx", python, path, digest)
        with open_engine(settings) as engine:
            keypoints, expected, build = engine.info.keypoints, _rows(engine, runs), engine.info.build
        with open_engine(made) as engine:
            found, onnx_build = _rows(engine, runs), engine.info.build
    deviation = measured(found, expected, likely, video.name, (build, onnx_build))
    _require_small(deviation, most_px, str(out))
    exported = Exported(out, digest, settings.sha256, keypoints, deviation)
    with writing(out, is_new=not overwrite) as file:
        file.write(content)
    with writing(record_path(out)) as file:
        file.write((json.dumps({**asdict(exported), "path": out.name}, indent=1) + "\n").encode())
    return exported


def compare_engines(
    settings: EngineSettings,
    other: EngineSettings,
    video: Path,
    *,
    n_frames: int = 64,
    likely: float = 0.9,
    device: str = "cpu",
) -> Deviation:
    """Return the deviation of the keypoints of one engine from those of another.

    Parameters
    ----------
    settings : EngineSettings
        The engine that is compared with.
    other : EngineSettings
        The engine that deviates: the same network in another runtime or precision.
    video, n_frames, likely
        See `export_network`.
    device : str
        cpu or cuda.

    Raises
    ------
    WrongKeypoints
        If they have different keypoints.
    MissingKeypoints
        If the first finds no likely point in the video.
    IblDaskError
        If an engine or the video cannot be used.
    """
    runs = spread_runs(video, n_frames)
    with open_engine(settings, device) as engine:
        first, expected = engine.info, _rows(engine, runs)
    with open_engine(other, device) as engine:
        second, found = engine.info, _rows(engine, runs)
    if first.keypoints != second.keypoints:
        raise WrongKeypoints(
            "these engines have different keypoints",
            where=f"{settings.name}, {other.name}",
            expected=", ".join(first.keypoints),
            got=", ".join(second.keypoints),
            do="compare engines of one network",
        )
    return measured(found, expected, likely, video.name, (first.build, second.build))


def spread_runs(video: Path, n_frames: int) -> list[NDArray[np.uint8]]:
    """Return runs of frames from all over a video, RGB; together as many as asked for where it has them.

    Returns
    -------
    list of (frame, y, x, 3) uint8
        Consecutive frames each, up to the first that does not decode: networks may look at the frames around one.

    Raises
    ------
    MissingFile, UnreadableVideo, DecodeFailed
        If it cannot be read.
    """
    index = index_video(video)
    n_runs = max(1, min(n_frames, len(index)) // RUN_FRAMES)
    starts = np.unique(np.linspace(0, max(0, len(index) - RUN_FRAMES), n_runs).round().astype(int)).tolist()
    found = (rgb_frames(video, index, start, min(start + RUN_FRAMES, len(index))) for start in starts)
    runs = [list(takewhile(lambda frame: frame is not None, (frame for _, frame in run))) for run in found]
    if not any(runs):
        raise DecodeFailed(
            "no frame of this video decodes",
            where=str(video),
            expected="frames to compare two networks on",
            got=f"none of {len(starts) * RUN_FRAMES:,} that were tried",
            do="name another video",
        )
    return [np.array(run) for run in runs if run]


def measured(
    found: NDArray[np.float32], expected: NDArray[np.float32], likely: float, video: str, builds: tuple[str, str]
) -> Deviation:
    """Return the deviation of rows from those of the engine. Rows are (frame, keypoint, 3).

    Raises
    ------
    MissingKeypoints
        If the engine finds no likely point.
    """
    is_likely = expected[..., 2] >= likely
    if not is_likely.any():
        raise MissingKeypoints(
            "the network finds no point in this video by which it could be compared",
            where=video,
            expected=f"points with a likelihood of {likely:g} or more, in {len(expected)} frames",
            got=f"at most {expected[..., 2].max(initial=0):.3g}",
            do="name a video that the network was trained for, or give a lower --likely",
        )
    distance = np.linalg.norm(found[..., :2].astype(np.float64) - expected[..., :2], axis=-1)
    return Deviation(
        video=video,
        n_frames=len(expected),
        likely=likely,
        n_likely=int(is_likely.sum()),
        largest_px=float(distance[is_likely].max()),
        mean_px=float(distance[is_likely].mean()),
        largest_px_of_all=float(distance.max()),
        largest_likelihood=float(np.abs(found[..., 2] - expected[..., 2]).max()),
        engine=builds[0],
        other=builds[1],
    )


def _rows(engine: Engine, runs: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    return np.concatenate([engine.predict(run) for run in runs])


def _require_small(deviation: Deviation, most_px: float, where: str) -> None:
    if deviation.largest_px > most_px:
        raise EngineFailed(
            "the exported network finds its points elsewhere; nothing was written",
            where=where,
            expected=f"at most {most_px:g} px from the engine, for a likelihood of {deviation.likely:g} or more",
            got=f"{deviation.largest_px:.3g} px, and {deviation.mean_px:.3g} px on average of {deviation.n_likely:,}",
            do="try the environment with another version of torch or onnxruntime, or accept more by --most-px",
        )
