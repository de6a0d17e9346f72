"""Synthetic sessions of ephys and training rigs, with frame numbers in the pixels and the truth beside."""

from ibl_dask.synth.burn import burn_frame_number, read_frame_number
from ibl_dask.synth.movie import loop_clip, write_video
from ibl_dask.synth.scene import FULL_SIZE, Scene, SceneState
from ibl_dask.synth.session import write_session
from ibl_dask.synth.training import TrainingFaults, TrainingTruth, write_training_session
from ibl_dask.synth.truth import CameraTruth, Truth

__all__ = [
    "FULL_SIZE",
    "CameraTruth",
    "Scene",
    "SceneState",
    "TrainingFaults",
    "TrainingTruth",
    "Truth",
    "burn_frame_number",
    "loop_clip",
    "read_frame_number",
    "write_session",
    "write_training_session",
    "write_video",
]
