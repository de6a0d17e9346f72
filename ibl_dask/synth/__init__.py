"""Synthetic sessions of four kinds of rig, with frame numbers in the pixels and the ground truth beside."""

from ibl_dask.synth.burn import burn_frame_number, read_frame_number
from ibl_dask.synth.mesoscope import MesoscopeFaults, write_mesoscope_session
from ibl_dask.synth.movie import loop_clip, write_video
from ibl_dask.synth.scene import FULL_SIZE, Scene
from ibl_dask.synth.scene_motion import SceneState, side_keypoints
from ibl_dask.synth.session import write_session
from ibl_dask.synth.training import TrainingFaults, TrainingTruth, write_training_session
from ibl_dask.synth.truth import CameraTruth, Truth
from ibl_dask.synth.widefield import CamlogStyle, WidefieldFaults, write_widefield_session

__all__ = [
    "FULL_SIZE",
    "CameraTruth",
    "CamlogStyle",
    "MesoscopeFaults",
    "Scene",
    "SceneState",
    "TrainingFaults",
    "TrainingTruth",
    "Truth",
    "WidefieldFaults",
    "burn_frame_number",
    "loop_clip",
    "read_frame_number",
    "side_keypoints",
    "write_mesoscope_session",
    "write_session",
    "write_training_session",
    "write_video",
    "write_widefield_session",
]
