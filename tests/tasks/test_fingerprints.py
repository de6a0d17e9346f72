"""Fingerprints that are on disk beside results keep their values, so that results of earlier versions are kept.

Those of `times`, and of `wheel` and `frames` after it, are of its version 5: doubts were added, and earlier times are
computed anew.
"""

from pathlib import Path

import pytest

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import Camera
from ibl_dask.model.session import Session
from ibl_dask.model.step import StepKey
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import IndexVideo
from ibl_dask.tasks.session_files import ExtractSync, SyncFiles
from ibl_dask.tasks.video_mp4.raw_video import IndexRaw
from ibl_dask.tasks.video_sync.frame_pass import MergeChunks, PassChunk
from ibl_dask.tasks.video_sync.pulse_times import TimeByDaq
from ibl_dask.tasks.video_sync.wheel_times import SettleTimes, WheelFiles

SHA256 = "ff" * 32
VIDEO = {"size": 1000, "index": "0123456789abcdef", "sha256": SHA256, "sample": SHA256[:16], "decoder": "PyAV 1"}
FILE = {"name": "_iblrig_leftCamera.raw.mp4", "size": 1000, "content": SHA256[:16]}
REDUCERS = {"brightness": "1" * 16, "motion_energy_wheel": "2" * 16}
INPUTS = {
    "frame_data": None,
    "timestamps": FILE,
    "fronts": 1,
    "logged": False,
    "sync_label": "audio",
    "nominal_hz": 60.0,
}


def steps(folder: Path) -> dict[str, object]:
    """Return a step of each kind whose fingerprint is kept somewhere, in any folder."""
    space = Workspace(Session(folder / "SW_001" / "2023-05-01" / "001"), folder)
    common = {"session": str(folder), "camera": "left", "workspace": space}
    described = {**common, "described": Camera("left")}
    index = StepKey("index-left", "", "", 0)
    sync = SyncFiles("raw_ephys_data", "spikeglx")
    video = {"video_identity": VIDEO, "index": index}
    times = TimeByDaq(**described, **video, inputs=INPUTS, sync=sync)
    wheel = SettleTimes(
        **described,
        files=WheelFiles(),
        files_identity=[],
        reducer=None,
        chunks=(),
        is_fresh=False,
        index=index,
        times=times.key,
    )
    measured = {"reducers": (), "reducer_fingerprints": REDUCERS}
    return {
        "index": IndexVideo(**described, files=FILE),
        "rawindex": IndexRaw(**described, video=folder, file=FILE),
        "sync": ExtractSync(session="", workspace=space, sync=sync, recording={"recording": FILE, "header": None}),
        "times": times,
        "framepass": PassChunk(**common, **video, **measured, video=folder, frames=Chunk(0, 300)),
        "wheel": wheel,
        "frames": MergeChunks(**common, **video, **measured, chunks=(), fresh=(), wheel=wheel.key),
    }


@pytest.mark.parametrize(
    ("kind", "fingerprint"),
    [
        ("index", "13f6a5f0c4aec308"),
        ("rawindex", "e6d31cc7b5be5255"),
        ("sync", "9bdcdd916eb668aa"),
        ("times", "06e8d1643d95e1ad"),
        ("framepass", "52c3f58a2e82b4cd"),
        ("wheel", "7710646a80e126dc"),
        ("frames", "65093a0f33970d5f"),
    ],
)
def test_fingerprints_are_those_of_earlier_versions(tmp_path, kind, fingerprint):
    step = steps(tmp_path)[kind]
    assert step.kind == kind
    assert step.fingerprint == fingerprint
