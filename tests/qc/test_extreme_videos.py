"""Videos that show nothing, and videos of a few frames: every check has a defined outcome, whatever the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ibl_dask.synth.movie import write_video
from ibl_dask.synth.session import write_session
from ibl_dask.tasks.video_sync.clocks import VideoSyncQcNidq
from ibl_dask.video.container.index import index_video

CONTENTS: dict[str, Callable[[int, np.random.Generator], float]] = {
    "white": lambda i, rng: 255,
    "black": lambda i, rng: 16,
    "constant": lambda i, rng: 120,
    "flickering": lambda i, rng: (60, 160)[i % 2],
}


def judge(folder: Path, contents: dict[str, str]) -> dict[str, dict[str, dict]]:
    """Run a session whose cameras see a uniform picture; return the checks of each camera."""
    rng = np.random.default_rng(0)
    for label, content in contents.items():
        path = folder / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4"
        index = index_video(path)
        size = (index.width, index.height)
        level = CONTENTS[content]
        frames = (np.full(size[::-1], level(i, rng), np.uint8) for i in range(len(index)))
        write_video(path, frames, *size, round(index.fps))
    task = VideoSyncQcNidq(folder, list(contents))
    assert task.run() == 0
    record = json.loads((folder / "ibl_dask" / "qc.json").read_text())
    return {label: part["checks"] for label, part in record["cameras"].items()}


@pytest.fixture(scope="module")
def uniform(tmp_path_factory) -> dict[str, dict[str, dict]]:
    folder = tmp_path_factory.mktemp("uniform") / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_session(folder, duration_s=3, scale=0.125)
    found = judge(folder, {"left": "white", "right": "black", "body": "flickering"})
    other = tmp_path_factory.mktemp("constant") / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_session(other, duration_s=3, scale=0.125, cameras=("body",))
    constant = judge(other, {"body": "constant"})
    return {"white": found["left"], "black": found["right"], "flickering": found["body"], "constant": constant["body"]}


OUTCOMES = {
    "brightness": {"white": "FAIL", "black": "FAIL", "constant": "PASS"},
    "focus": dict.fromkeys(CONTENTS, "FAIL"),
    "position": dict.fromkeys(CONTENTS, "NOT_SET"),
    "decoding": dict.fromkeys(CONTENTS, "PASS"),
    "black_frames": {"white": "PASS", "black": "FAIL", "constant": "PASS", "flickering": "PASS"},
    "repeated_frames": {"white": "FAIL", "black": "FAIL", "constant": "FAIL", "flickering": "PASS"},
    "flicker": {"white": "PASS", "black": "PASS", "constant": "PASS", "flickering": "FAIL"},
    "light_steps": dict.fromkeys(CONTENTS, "NOT_SET"),
    "camera_movement": dict.fromkeys(CONTENTS, "NOT_SET"),
}


@pytest.mark.parametrize("content", list(CONTENTS))
def test_uniform_pictures_have_defined_outcomes(uniform: dict[str, dict[str, dict]], content: str) -> None:
    checks = uniform[content]
    expected = {name: outcomes[content] for name, outcomes in OUTCOMES.items() if content in outcomes}
    assert {name: checks[name]["outcome"] for name in expected} == expected
    assert not [name for name, check in checks.items() if "the check itself failed" in check["message"]]


def test_white_video_fails_where_the_reference_warns(uniform: dict[str, dict[str, dict]]) -> None:
    """The reference's limit for FAIL is 400 grey levels of 255."""
    brightness = uniform["white"]["brightness"]
    assert brightness["outcome"] == "FAIL"
    assert brightness["values"]["mean"] == 255
    assert brightness["values"]["share_visible"] == 0


def test_flicker_is_found_whichever_frames_are_sampled(uniform: dict[str, dict[str, dict]]) -> None:
    assert uniform["flickering"]["flicker"]["values"]["share_jumps"] == 1
    assert uniform["flickering"]["flicker"]["values"]["largest_jump_luma"] == pytest.approx(100, abs=2)


def test_videos_of_fewer_than_200_frames_are_judged(tmp_path: Path) -> None:
    """The reference samples them backwards, and before their start."""
    folder = tmp_path / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_session(folder, duration_s=1.2, scale=0.125)
    task = VideoSyncQcNidq(folder, ["left", "right", "body"])
    task.run()
    cameras = json.loads((folder / "ibl_dask" / "qc.json").read_text())["cameras"]
    for label, n in {"left": 72, "right": 180, "body": 36}.items():
        checks = cameras[label]["checks"]
        assert checks["brightness"]["values"]["n_samples"] == min(n, 100)
        for name in ("brightness", "focus", "timestamps", "decoding", "flicker", "black_frames", "repeated_frames"):
            assert checks[name]["outcome"] in ("PASS", "WARNING", "FAIL"), (label, name, checks[name])
        assert checks["light_steps"]["outcome"] == "NOT_SET"
        assert not [name for name, check in checks.items() if "the check itself failed" in check["message"]]
