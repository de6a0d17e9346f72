"""Real pixels through the whole chain: window, crop, trained network, un-crop, table, pupil diameter.

It says nothing about the accuracy on videos of the IBL, for which the network was not trained.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from disc_sessions import site, toy

from ibl_dask.model.status import Status
from ibl_dask.pipeline.run import run
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host.warm_engines import open_engine
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.networks import CropRule, Network
from ibl_dask.pose.pupil import PUPIL
from ibl_dask.store.tables import read_table
from ibl_dask.synth.session import write_session

pytestmark = [pytest.mark.pose, pytest.mark.recordings]

WIDTH, HEIGHT, SIDE_PX, N_FRAMES = 1280, 1024, 148, 60
MARK, EYE = (300, 700), (611, 97)
"""Centre of the mark that the window is anchored on, and left top of the eye; x and y, px."""


def eye_frames(data_folder: Path) -> list[np.ndarray]:
    """Return 31 real frames forward and backward, grey."""
    paths = sorted((data_folder / "pupil" / "frames").glob("*.png"))
    frames = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    there_and_back = frames + frames[-2:0:-1]
    return [there_and_back[number % len(there_and_back)] for number in range(N_FRAMES)]


def whole_frames(eyes):
    """Yield frames of the left camera with an eye and a mark, on the scale of video: 16 is black."""
    for eye in eyes:
        frame = np.full((HEIGHT, WIDTH), 60, np.uint8)
        frame[MARK[1] - 20 : MARK[1] + 21, MARK[0] - 20 : MARK[0] + 21] = 235
        part = np.rint(16 + eye.astype(float) * 219 / 255).astype(np.uint8)
        frame[EYE[1] : EYE[1] + SIDE_PX, EYE[0] : EYE[0] + SIDE_PX] = part
        yield frame


def test_a_pupil_in_a_session_is_found_where_it_was_pasted(pose_python, pupil_weights, data_folder, tmp_path):
    folder = tmp_path / "Subjects" / "SW_001" / "2023-05-01" / "001"
    eyes = eye_frames(data_folder)
    footage = {"left": whole_frames(eyes)}
    write_session(
        folder, duration_s=1, cameras=("left",), gop=20, video_options={"crf": "0"}, burn=False, footage=footage
    )
    digest = hashlib.sha256(pupil_weights.read_bytes()).hexdigest()
    options = {"output": "segmentation", "activation": "sigmoid", "batch": 8}
    net = EngineSettings("pupil", "onnx", pose_python, pupil_weights, digest, options=options)
    crop = CropRule(("mark",), SIDE_PX, SIDE_PX, EYE[0] - MARK[0], EYE[1] - MARK[1])
    eye = Network("eye", ("pupil",), crop=crop, locate="roi")
    sites = site(eye, engines=(net, toy("roi", ("mark",), threshold=250)))
    (outcome,) = run([folder], tasks=["DLC", "PostDLC"], chunk_pixels=WIDTH * HEIGHT * 20, **sites).sessions
    assert outcome.tasks["DLC"] is Status.COMPLETE, outcome.failures
    found = Keypoints.from_columns(read_table(folder / "alf" / "_ibl_leftCamera.dlc.pqt"))
    with open_engine(net, "cpu") as engine:
        rgb = np.stack([np.stack([frame] * 3, axis=-1) for frame in eyes])
        expected = engine.predict(rgb)
    for number, name in enumerate(engine.info.keypoints):
        assert np.abs(found.of(name) - EYE - expected[:, number, :2]).max() < 0.6
    assert found.likelihood(PUPIL[0]).min() > 0.9
    diameter = read_table(folder / "alf" / "_ibl_leftCamera.features.pqt")["pupilDiameter_raw"]
    assert len(diameter) == N_FRAMES
    assert 15 < diameter.min() < diameter.max() < 28
