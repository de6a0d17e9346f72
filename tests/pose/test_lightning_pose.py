"""Lightning Pose itself, in its own environment: chunks of a real video have the rows of its own whole-video call.

The networks have random weights: their keypoints mean nothing, and follow the pixels of single frames.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from disc_sessions import CHUNK_PIXELS, site, write_discs
from engine_tests import EngineTests, in_chunks

from ibl_dask.errors import MissingEnvironment, UsageError, WrongKeypoints
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.model.status import Status
from ibl_dask.pipeline.run import run
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.host.warm_engines import WarmEngines
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.networks import Network
from ibl_dask.pose.smoothers.ensemble_kalman import smooth_ensemble
from ibl_dask.pose.smoothers.rules import EnsembleSmoothing
from ibl_dask.store.tables import read_table
from ibl_dask.tasks.pose.estimation import estimate
from ibl_dask.tasks.pose.export import export_network
from ibl_dask.video.colour import rgb_frames
from ibl_dask.video.container.index import index_video

pytestmark = [pytest.mark.lightning_pose, pytest.mark.recordings]
PROGRAM = Path(__file__).parents[1] / "helpers" / "lightning_networks.py"
N_FRAMES = 149
"""Frames of the clip: not a multiple of a batch, and the library has a valid row for each."""
SHORT_FRAMES = 40
"""Frames of a clip of which the library gives the last rows those of the first."""
NAMES = ("heatmap", "heatmap_mhcrnn")
PX = (0, 1, 3, 4, 6, 7)
"""Columns of x and y."""


@pytest.fixture(scope="module")
def folder(lightning_pose_python, data_folder, tmp_path_factory):
    """Return a folder with clips of a real video, networks, and the library's predictions."""
    folder = tmp_path_factory.mktemp("lightning")
    for name, n_frames in (("clip", N_FRAMES), ("short", SHORT_FRAMES)):
        cut(data_folder / "video" / "mirror_mouse.mp4", folder / f"{name}.mp4", n_frames)
    subprocess.run([lightning_pose_python, str(PROGRAM), str(folder)], check=True, capture_output=True, timeout=1500)
    return folder


def cut(video, out, n_frames):
    """Write the first frames of a video as a clip with B-frames."""
    with av.open(str(video)) as source, av.open(str(out), "w") as target:
        frames = islice(source.decode(video=0), n_frames)
        stream = target.add_stream("libx264", rate=30, options={"crf": "12", "g": "24", "bf": "2"})
        stream.width, stream.height = source.streams.video[0].width, source.streams.video[0].height
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, 30)
            target.mux(stream.encode(frame))
        target.mux(stream.encode())


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    node = tmp_path_factory.mktemp("node")
    engines = WarmEngines(folders=[node], weights_folder=node / "weights")
    yield engines
    engines.release()


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


def settings(python, path, **more) -> EngineSettings:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = more.pop("name", "litpose")
    return EngineSettings(name, "lightning_pose", python, path, digest, **{"options": {"batch": 16}, **more})


@pytest.fixture(scope="module")
def engine(lightning_pose_python, folder, engines, name):
    with engines.open(settings(lightning_pose_python, folder / f"{name}.zip")) as engine:
        yield engine


def rows_of_library(folder, name, clip):
    return np.load(folder / f"{name}-{clip}.npz")["rows"]


def rows_in_chunks(engine, video, borders):
    index = index_video(video)
    whole = PictureMap(Region(0, index.height, 0, index.width))
    chunks = [Chunk(start, stop) for start, stop in pairwise([0, *borders, len(index)])]
    parts = [estimate(video, index, chunk, {"litpose": (engine, whole)}).values["litpose"] for chunk in chunks]
    return np.concatenate(parts).reshape(len(index), -1)


@pytest.fixture(scope="module")
def first_frames(folder):
    video = folder / "short.mp4"
    return np.stack([frame for _, frame in rgb_frames(video, index_video(video), 0, 20)])


class TestConformance(EngineTests):
    n_examples = 3

    @pytest.fixture
    def frames(self, first_frames):
        return first_frames[:12]


def test_chunks_equal_the_whole_video_of_the_library_at_every_row(engine, folder, name):
    """Seams lie anywhere, beside the ends and next to each other included."""
    expected = rows_of_library(folder, name, "clip")
    found = rows_in_chunks(engine, folder / "clip.mp4", [1, 3, 50, 51, 100, N_FRAMES - 2, N_FRAMES - 1])
    assert found.shape == expected.shape == (N_FRAMES, 9)
    np.testing.assert_allclose(found[:, PX], expected[:, PX], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[:, 2::3], expected[:, 2::3], rtol=0, atol=1e-4)
    assert np.abs(np.diff(expected[:, PX], axis=0)).max(axis=1)[3:-3].min() > 1e-2, "another frame would not show"


def test_a_video_whose_last_rows_the_library_takes_from_its_first_keeps_its_own(engine, folder, name):
    """Where the last windows of the library do not cover the video it pads with the row of the first frame."""
    expected = rows_of_library(folder, name, "short")
    found = rows_in_chunks(engine, folder / "short.mp4", [17])
    n_own = SHORT_FRAMES - (4 if engine.info.halo else 0)
    np.testing.assert_allclose(found[:n_own, PX], expected[:n_own, PX], rtol=0, atol=1e-3)
    if engine.info.halo:
        assert np.array_equal(expected[-4:], np.repeat(expected[:1], 4, axis=0))
        assert np.array_equal(found[-2:], np.repeat(found[-3:-2], 2, axis=0))
        assert np.abs(found[-4:, PX] - expected[-4:, PX]).max() > 1e-2


def test_an_export_has_the_rows_of_the_library_in_any_chunks(lightning_pose_python, folder, engines, tmp_path, name):
    """With context as well, whose export by the library itself does not run on videos."""
    made = tmp_path / "net.onnx"
    of_library = settings(lightning_pose_python, folder / f"{name}.zip")
    exported = export_network(of_library, folder / "clip.mp4", made, n_frames=24, likely=0.0, most_px=5e-3)
    assert exported.deviation.n_likely == 24 * 3
    in_onnx = EngineSettings("net", "onnx", lightning_pose_python, made, exported.sha256)
    expected = rows_of_library(folder, name, "clip")
    with engines.open(in_onnx) as engine:
        assert engine.info.keypoints == ("nose_tip", "paw_l", "paw_r")
        assert engine.info.halo == (4 if name == "heatmap_mhcrnn" else 0)
        assert engine.info.build == "onnxruntime 1.32.0 CPUExecutionProvider"
        found = rows_in_chunks(engine, folder / "clip.mp4", [1, 3, 50, 51, 100, N_FRAMES - 2, N_FRAMES - 1])
    np.testing.assert_allclose(found[:, PX], expected[:, PX], rtol=0, atol=5e-3)
    np.testing.assert_allclose(found[:, 2::3], expected[:, 2::3], rtol=0, atol=1e-3)


def test_chunks_without_their_halo_would_show(lightning_pose_python, folder, engines, first_frames):
    with engines.open(settings(lightning_pose_python, folder / "heatmap_mhcrnn.zip")) as engine:
        whole = engine.predict(first_frames)
        cut = np.concatenate([engine.predict(first_frames[:10]), engine.predict(first_frames[10:])])
        assert np.abs(cut - whole)[8:12, :, :2].max() > 1e-2
        assert np.abs(in_chunks(engine, first_frames, [10]) - whole)[..., :2].max() <= engine.info.tolerance_px


def test_the_engine_names_its_keypoints_and_build(engine, name):
    assert engine.info.keypoints == ("nose_tip", "paw_l", "paw_r")
    assert engine.info.input_size == (128, 128)
    assert engine.info.halo == (4 if name == "heatmap_mhcrnn" else 0)
    assert engine.info.build.startswith("lightning-pose 2.4.3 torch 2.")


def test_weights_that_others_trained_are_loaded_without_a_download(lightning_pose_python, folder, engines):
    """The library downloads weights of animals for these networks before it replaces them by those of the file."""
    with engines.open(settings(lightning_pose_python, folder / "animal.zip")) as engine:
        assert engine.info.keypoints == ("nose_tip", "paw_l", "paw_r")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("other-type.zip", "checkpoint and config.yaml are of different networks"),
        ("other-keypoints.zip", "checkpoint and config.yaml are of different networks"),
        ("no-config.zip", "these weights are no packed network of Lightning Pose"),
        ("two-checkpoints.zip", "these weights are no packed network of Lightning Pose"),
        ("views.zip", "this network is of another kind"),
        ("regression.zip", "this network is of another kind"),
    ],
)
def test_files_that_are_no_network_are_refused_before_any_frame(
    lightning_pose_python, folder, engines, changed, message
):
    """The library takes the first with random weights in place of those that it lacks."""
    with (
        pytest.raises(MissingEnvironment, match=message) as caught,
        engines.open(settings(lightning_pose_python, folder / changed)),
    ):
        pass
    assert caught.value.category == "environment"
    assert caught.value.do


def test_a_bare_checkpoint_is_refused_with_the_command_that_packs_it(lightning_pose_python, folder, engines, tmp_path):
    with zipfile.ZipFile(folder / "heatmap.zip") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".ckpt")]
        path = Path(archive.extract(name, tmp_path))
    with (
        pytest.raises(MissingEnvironment, match="no packed network") as caught,
        engines.open(settings(lightning_pose_python, path)),
    ):
        pass
    assert "zipfile -c" in caught.value.do


def test_other_keypoints_than_those_of_the_profile_are_refused(lightning_pose_python, folder, engines):
    other = settings(lightning_pose_python, folder / "heatmap.zip", keypoints=("nose_tip", "tail_start", "paw_r"))
    with pytest.raises(WrongKeypoints), engines.open(other):
        pass


def test_half_precision_is_for_gpus(lightning_pose_python, folder, engines):
    half = settings(lightning_pose_python, folder / "heatmap.zip", options={"precision": "fp16"})
    with pytest.raises(UsageError, match="precision"), engines.open(half):
        pass


def test_an_environment_without_the_library_is_named(folder, engines):
    with (
        pytest.raises(MissingEnvironment, match="lacks lightning_pose") as caught,
        engines.open(settings(sys.executable, folder / "heatmap.zip")),
    ):
        pass
    assert "install it there" in caught.value.do


def test_an_ensemble_of_two_networks_goes_from_the_command_to_a_smoothed_table(
    lightning_pose_python, folder, engines, tmp_path
):
    """One network with context and one without it are decoded once, in six chunks, and smoothed over all of them."""
    session = tmp_path / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_discs(session, ("left",))
    rule = EnsembleSmoothing("keypoints")
    members = {name: settings(lightning_pose_python, folder / f"{name}.zip", name=name) for name in NAMES}
    options = site(
        Network("whole", NAMES, smoothing=rule),
        engines=tuple(members.values()),
        estimator="lightning_pose",
        smoother=lightning_pose_python,
    )
    (outcome,) = run(
        [session], tasks=["LightningPose"], pose=["lightning_pose"], chunk_pixels=CHUNK_PIXELS, **options
    ).sessions
    assert outcome.tasks["LightningPose"] is Status.COMPLETE, outcome.failures
    found = Keypoints.from_columns(read_table(session / "alf" / "_ibl_leftCamera.lightningPose.pqt"))
    video = session / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    index = index_video(video)
    frames = np.stack([frame for _, frame in rgb_frames(video, index, 0, len(index))])
    tables = []
    for each in members.values():
        with engines.open(each) as engine:
            tables.append(Keypoints(engine.info.keypoints, engine.predict(frames)))
    expected = smooth_ensemble(tables, rule, index.fps, lightning_pose_python).keypoints
    np.testing.assert_allclose(found.values[..., :2], expected.values[..., :2], rtol=0, atol=1e-2)
    assert list(found.columns()) == list(expected.columns())
