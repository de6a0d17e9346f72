"""The reference's own checks on the same arrays, where the reference is right."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ibl_dask.model.description import Camera
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.qc.record import camera_record, extended_qc
from ibl_dask.qc.registry import run_checks
from ibl_dask.video.reducers import high_frequency_mean, laplacian_variances
from ibl_dask.video.regions import brightness_region, focus_regions

PEER = os.environ.get("IBL_DASK_PEER_PYTHON")
RIGS = {"left": (60, 1280, 1024), "right": (150, 640, 512), "body": (30, 640, 512)}
CHECKS = (
    "brightness",
    "camera_times",
    "dropped_frames",
    "file_headers",
    "framerate",
    "pin_state",
    "resolution",
    "timestamps",
)
N_CASES = 150

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not PEER, reason="the reference is not installed; set IBL_DASK_PEER_PYTHON to its python"),
]

SCRIPT = """
import json, sys
import numpy as np
from iblutil.util import Bunch
from one.alf import spec
from ibllib.qc.camera import CameraQC

arrays = np.load(sys.argv[1])
answers = []
for i, case in enumerate(json.loads(open(sys.argv[2]).read())):
    part = {name: arrays[f"{i}/{name}"] for name in ("frames", "times", "count", "pin") if f"{i}/{name}" in arrays}
    qc = CameraQC.__new__(CameraQC)
    qc.label, qc._type, qc.n_samples = case["label"], "ephys", len(part["frames"])
    qc.data = Bunch(
        frame_samples=part["frames"], timestamps=part.get("times"), count=part.get("count"),
        pin_state=part.get("pin"), audio=np.arange(2.0 * case["n_ttl"]), bonsai_times=[],
        camera_times=np.zeros(case["n_camera_times"]),
        video=Bunch(length=case["n_frames"], fps=case["header_fps"], width=case["width"], height=case["height"]),
    )
    answer = {}
    for name in case["checks"]:
        arguments = {"roi": None} if name == "focus" else {}
        result = getattr(qc, "check_" + name)(**arguments)
        result = result if isinstance(result, tuple) else (result,)
        answer[name] = [r.name if isinstance(r, spec.QC) else r for r in result]
    answers.append(answer)
print("ANSWERS" + json.dumps(answers))
"""


def random_case(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    label = str(rng.choice(list(RIGS)))
    fps, width, height = RIGS[label]
    n_frames = int(rng.integers(100, 2000))
    difference = int(rng.choice([0, 0, 0, 1, -1, 4, -4, 5, -5, 30]))
    n_records = n_frames + difference
    means = rng.normal(rng.uniform(15, 210), rng.choice([1, 15, 20, 30]), int(rng.integers(2, 30))).clip(2, 230)
    frames = means[:, None, None] + rng.uniform(-2, 2, (len(means), 12, 20))
    steps = np.ones(n_records - 1, np.int64)
    steps[rng.integers(0, len(steps), rng.integers(0, 4))] += rng.integers(1, 3)
    if rng.random() < 0.1:
        steps[rng.integers(0, len(steps))] = rng.integers(-1, 1)
    n_times = n_frames + int(rng.choice([0, 0, 0, 1, -1]))
    rate = fps + rng.choice([0, 0.3, -0.98, 0.98, 1.02, -1.5])
    times = 100 + np.arange(n_times) / rate + rng.uniform(0, 0.3 / fps, n_times)
    if rng.random() < 0.2:
        times[rng.integers(1, n_times)] = rng.choice([np.nan, 0.0])
    pin = rng.random((n_records, 4)) < 0.05
    n_rises = int((np.diff(pin[:, -1].astype(int)) == 1).sum())
    case = {
        "label": label,
        "n_frames": n_frames,
        "n_camera_times": n_records,
        "n_ttl": max(0, n_rises + int(rng.integers(-7, 8))),
        "header_fps": int(rng.choice([fps, fps, 30, 60])),
        "width": int(rng.choice([width, width, 640])),
        "height": int(rng.choice([height, height, 512])),
        "checks": [name for name in CHECKS if name != "framerate" or np.isfinite(times).all()],
    }
    arrays = {
        "frames": frames.round().astype(np.uint8),
        "times": times,
        "count": int(rng.integers(0, 99)) + np.concatenate([[0], np.cumsum(steps)]),
        "pin": pin,
    }
    return case, arrays


def focus_case(rng: np.random.Generator, blur: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return noise, the more blurred the less sharp, or (blur < 0) a smooth slope with one small speck."""
    frames = rng.integers(0, 256, (2, 512, 640)).astype(np.uint8)
    if blur < 0:
        frames[:] = np.linspace(0, 200, 640).astype(np.uint8)
        frames[:, 250:254, 300:304] = 255
    elif blur:
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), blur) for frame in frames])
    label = str(rng.choice(["right", "body"]))
    case = {"label": label, "n_frames": 2, "n_camera_times": 2, "n_ttl": 0, "header_fps": 30, "checks": ["focus"]}
    return case | {"width": 640, "height": 512}, {"frames": frames}


def ours(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    fps, width, height = RIGS[case["label"]]
    frames = arrays["frames"]
    region = brightness_region(case["label"], frames.shape[2], frames.shape[1])
    is_focus = "focus" in case["checks"]
    equalised = [np.asarray(cv2.equalizeHist(frame), np.uint8) for frame in frames] if is_focus else []
    places = focus_regions(case["label"], 640, 512)
    pin = arrays.get("pin")
    evidence = CameraEvidence(
        Camera(case["label"], fps=fps, width=width, height=height),
        case["n_frames"],
        case["width"],
        case["height"],
        case["header_fps"],
        times_s=arrays.get("times"),
        n_camera_times=case["n_camera_times"],
        count=arrays.get("count"),
        pin_state=None if pin is None else pin[:, -1],
        n_ttl_rises=case["n_ttl"],
        sample_brightness=np.array([region.of(frame).mean() for frame in frames]),
        sample_laplacian=np.array([laplacian_variances(f, places) for f in equalised]) if is_focus else None,
        sample_high_frequency=np.array([high_frequency_mean(f) for f in equalised]) if is_focus else None,
    )
    published = extended_qc({"left": camera_record(run_checks(evidence, tuple(case["checks"])))})
    answers = {name: published[f"_videoLeft_{name}"] for name in case["checks"]}
    return {name: answer if isinstance(answer, list) else [answer] for name, answer in answers.items()}


def test_outcomes_and_numbers_are_those_of_the_reference(tmp_path: Path) -> None:
    rng = np.random.default_rng(20230501)
    cases = [random_case(rng) for _ in range(N_CASES)]
    cases += [focus_case(rng, blur) for blur in (0, 1, 4, 8, -1, -1)]
    np.savez(
        tmp_path / "arrays.npz",
        **{f"{i}/{name}": a for i, (_, arrays) in enumerate(cases) for name, a in arrays.items()},
    )
    (tmp_path / "cases.json").write_text(json.dumps([case for case, _ in cases]))
    assert PEER is not None
    answer = subprocess.run(
        [PEER, "-c", SCRIPT, str(tmp_path / "arrays.npz"), str(tmp_path / "cases.json")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MPLBACKEND": "Agg"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    expected = json.loads(answer.stdout.partition("ANSWERS")[2])
    seen: dict[str, set[str]] = {}
    for (case, arrays), theirs in zip(cases, expected, strict=True):
        mine = ours(case, arrays)
        assert mine == theirs, case
        for name, values in mine.items():
            seen.setdefault(name, set()).add(values[0])
    assert seen["brightness"] == {"PASS", "WARNING", "FAIL"}
    assert seen["dropped_frames"] == {"PASS", "WARNING", "FAIL", "CRITICAL"}
    assert seen["pin_state"] == {"PASS", "WARNING", "FAIL"}
    assert seen["camera_times"] == {"PASS", "WARNING"}
    for name in ("framerate", "resolution", "file_headers", "timestamps", "focus"):
        assert seen[name] == {"PASS", "FAIL"}, name
