"""The engine of DeepLabCut in its own environment, with a small random network: the rows of `analyze_videos`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from disc_sessions import site
from engine_tests import EngineTests
from first_frames import write_first_frames

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.model.status import Status
from ibl_dask.pipeline.run import run
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.host.warm_engines import WarmEngines
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.networks import Network
from ibl_dask.pose.smoothing import smoothed
from ibl_dask.pose.weights_digest import weights_digest
from ibl_dask.store.tables import read_table
from ibl_dask.synth.session import write_session
from ibl_dask.tasks.pose.estimation import estimate
from ibl_dask.video.colour import rgb_frames
from ibl_dask.video.container.index import index_video

pytestmark = pytest.mark.deeplabcut
PROGRAM = Path(__file__).parents[1] / "helpers" / "deeplabcut_project.py"
KEYPOINTS = ("snout", "leftear", "rightear", "tailbase")
BATCH = 8
LEAST_FRAMES = 190
"""Frames of the real video that are predicted, or a few more: one group of pictures and the start of the next."""


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    made = WarmEngines(folders=[folder], weights_folder=folder / "weights")
    yield made
    made.release()


@pytest.fixture(scope="module")
def network(deeplabcut_project) -> Path:
    """Return the folder of the network, as a training leaves it."""
    (folder,) = (deeplabcut_project / "dlc-models-pytorch").glob("*/*/train")
    return folder


@pytest.fixture
def copied(network, tmp_path) -> Path:
    """Return a copy of the folder that a test may do anything with."""
    return Path(shutil.copytree(network, tmp_path / "train"))


@pytest.fixture(scope="module")
def settings(deeplabcut_python):
    """Return a function that gives the settings of a network."""

    def of(path, keypoints=KEYPOINTS, **options):
        digest = weights_digest(path)
        return EngineSettings("openfield", "deeplabcut", deeplabcut_python, path, digest, tuple(keypoints), options)

    return of


@pytest.fixture(scope="module")
def clip(data_folder, tmp_path_factory) -> Path:
    """Return the first frames of a real video, as they are encoded there."""
    source = data_folder / "video" / "openfield_mouse.mp4"
    return write_first_frames(source, tmp_path_factory.mktemp("clip") / "openfield.mp4", LEAST_FRAMES)


@pytest.fixture(scope="module")
def analysed(deeplabcut_python, deeplabcut_project, clip, tmp_path_factory) -> dict[str, np.ndarray]:
    """Return what `analyze_videos` and `filterpredictions` write. (frame, keypoint, 3) each"""
    out = tmp_path_factory.mktemp("analysed") / "rows.npy"
    command = [deeplabcut_python, str(PROGRAM), "analyse", str(deeplabcut_project), str(clip), str(out), str(BATCH)]
    subprocess.run(command, check=True)
    return {"rows": np.load(out), "filtered": np.load(out.with_name("rows-filtered.npy"))}


def in_chunks(engine, video, borders):
    """Return the rows of a video whose chunks are each decoded and predicted by themselves, as by workers."""
    index = index_video(video)
    whole = PictureMap(Region(0, index.height, 0, index.width))
    chunks = [Chunk(start, stop) for start, stop in zip([0, *borders], [*borders, len(index)], strict=True)]
    found = [estimate(video, index, chunk, {"whole": (engine, whole)}) for chunk in chunks]
    assert not any(each.decode_error.any() for each in found)
    return np.concatenate([each.values["whole"] for each in found])


class TestConformance(EngineTests):
    n_examples = 3

    @pytest.fixture
    def engine(self, engines, settings, network):
        with engines.open(settings(network, batch=4)) as engine:
            yield engine

    @pytest.fixture
    def frames(self, clip):
        frames = np.stack([frame for _, frame in rgb_frames(clip, index_video(clip), 0, 11)])
        return np.ascontiguousarray(frames[:, ::4, ::4])


@pytest.mark.recordings
def test_chunks_equal_analyze_videos_bit_for_bit(engines, settings, network, clip, analysed):
    """Seams lie on keyframes and elsewhere, and leave batches that are not full."""
    expected = analysed["rows"]
    assert len(expected) == len(index_video(clip)) >= LEAST_FRAMES
    with engines.open(settings(network, batch=BATCH)) as engine:
        assert engine.info.tolerance_px == 0
        found = in_chunks(engine, clip, [1, 100, int(index_video(clip).keyframes[1]), len(expected) - 1])
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    assert np.ptp(expected[..., 0]) > 1, "the network sees its frames"


@pytest.mark.recordings
def test_the_median_of_the_whole_equals_filterpredictions(analysed):
    rows = Keypoints(KEYPOINTS, analysed["rows"].astype(np.float64))
    np.testing.assert_array_equal(smoothed(rows, 5).values, analysed["filtered"])


@pytest.mark.recordings
def test_the_table_of_a_session_equals_the_filtered_one(settings, network, clip, analysed, tmp_path):
    """Index, chunks on keyframes, hosts, joined table and filter, as a run does them."""
    folder = tmp_path / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_session(folder, duration_s=1, scale=0.125, cameras=("left",))
    shutil.copy(clip, folder / "raw_video_data" / "_iblrig_leftCamera.raw.mp4")
    engine = settings(network, batch=BATCH)
    sites = site(Network("whole", ("openfield",)), engines=(engine,), median_frames=5)
    (outcome,) = run([folder], tasks=["DLC"], chunk_pixels=640 * 480 * 60, **sites).sessions
    assert outcome.tasks["DLC"] is Status.COMPLETE, outcome.failures
    table = Keypoints.from_columns(read_table(folder / "alf" / "_ibl_leftCamera.dlc.pqt"))
    assert table.names == KEYPOINTS
    np.testing.assert_array_equal(table.values, analysed["filtered"])
