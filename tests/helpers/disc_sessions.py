"""Sessions whose videos show discs at known places, and networks that find them."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from ibl_dask.model.chunk import Chunk
from ibl_dask.pose.engine import EngineInfo, EngineSettings
from ibl_dask.pose.networks import Network, NetworkSet
from ibl_dask.synth.discs import disc_frames, disc_places
from ibl_dask.synth.session import write_session

SIZES = {"left": (320, 256), "right": (160, 128), "body": (160, 128)}
RATES = {"left": 60, "right": 150, "body": 30}
DURATION_S = 2
NAMES = ("nose_tip", "pupil_top_r")
CHUNK_PIXELS = 320 * 256 * 20


def write_discs(folder: Path, cameras=("left", "body"), n_discs=2) -> dict[str, np.ndarray]:
    """Write a session with lossless videos, and return the places of the discs (frame, disc, 2) of each camera."""
    places = {
        label: disc_places(DURATION_S * RATES[label], min(n_discs, SIZES[label][0] // 34), *SIZES[label], seed=number)
        for number, label in enumerate(cameras)
    }
    write_session(
        folder,
        duration_s=DURATION_S,
        scale=0.25,
        cameras=cameras,
        gop=20,
        b_frames=2,
        video_options={"crf": "0"},
        burn=False,
        footage={label: disc_frames(found, *SIZES[label]) for label, found in places.items()},
    )
    return places


def toy(name="toy", keypoints=NAMES, **options) -> EngineSettings:
    return EngineSettings(name, "synthetic", keypoints=keypoints, options=options)


def site(*networks: Network, estimator="dlc", engines=(), device="cpu", **more) -> dict[str, object]:
    """Return the options of a run with the networks of a site; by default one on the whole frame."""
    engines = engines or (toy(),)
    declared = NetworkSet(estimator, networks or (Network("whole", ("toy",)),), device=device, **more)
    return {"engines": {each.name: each for each in engines}, "networks": {estimator: declared}}


class Levels:
    """Engine whose values are mean levels of a frame and its neighbours: bit for bit, any other frame shows."""

    def __init__(self, halo: int, batch: int = 3) -> None:
        self.info = EngineInfo(("level",), halo=halo, batch_hint=batch)

    def predict(self, frames, before=0, after=0):
        rows = []
        for at in range(before, len(frames) - after):
            part = frames[max(0, at - self.info.halo) : at + self.info.halo + 1, ..., 0]
            rows.append([[part.mean(), part[:, 40:60, 20:70].std(), 1.0]])
        return np.array(rows, np.float32).reshape(-1, 1, 3)


def borders_to_chunks(borders) -> list[Chunk]:
    return [Chunk(a, b) for a, b in pairwise(borders)]
