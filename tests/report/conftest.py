"""Sessions as a report would meet them, made from nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ibl_dask.errors import NoPulses
from ibl_dask.model.failure import Failure
from ibl_dask.report.content import CameraContent, SessionContent
from ibl_dask.store.failures import failure_from

NO_PULSES = failure_from(
    NoPulses(
        "the sync holds no pulse of the body camera",
        where="body camera of SW_043/2023-05-01/001",
        expected="about 108,000 pulses on channel 4",
        got="0 pulses; channels with fronts: 2 (left) 432,011, 3 (right) 1,080,006, 7 (audio) 1,204",
        do="check that the cable of the camera was plugged in, or map the channel in _spikeglx_sync.wiring.json",
    )
)


def _check(name: str, outcome: str, measured: str, threshold: str, *numbers: float | None, message: str = "") -> dict:
    return {
        "name": name,
        "outcome": outcome,
        "numbers": list(numbers),
        "measured": measured,
        "threshold": threshold,
        "message": message,
    }


def make_checks(n: int, *, timed: bool = True, n_dropped: int = 0, n_undecoded: int = 0) -> dict:
    checks = [
        _check(
            "brightness",
            "PASS",
            "98% of 100 sampled frames inside, mean 92.1, std 6.1",
            "over 75% of frames within (40, 200), std under 20; FAIL if not over 75% within (20, 235)",
        ),
        _check("camera_times", "PASS", f"{n:,} camera times, {n:,} frames", "as many as frames", 0),
        _check("decoding", "FAIL" if n_undecoded else "PASS", f"{n_undecoded:,} of {n:,} frames do not decode", "none"),
        _check(
            "dropped_frames",
            "WARNING" if n_dropped else "PASS",
            f"{n_dropped:,} frames dropped, counter +{n_dropped} entries beside the video",
            "under 0.1 % dropped; difference 0 (WARNING under 5)",
            n_dropped,
            n_dropped,
        ),
        _check("file_headers", "PASS", "header 60 Hz", "60 Hz, within 0.5 Hz"),
        _check(
            "focus",
            "PASS",
            "variance of the Laplacian at least 131.4, high-frequency mean at least 7.02",
            "every frame over 100 or every frame over 6",
        ),
    ]
    if timed:
        checks += [
            _check("framerate", "PASS", "59.997 Hz", "60 Hz, within 1 Hz", 59.997),
            _check(
                "pin_state",
                "PASS",
                "602 TTLs, 602 pin rises, +0 pin states beside the video",
                "fewer than 5 TTLs apart; difference 0 (WARNING under 5)",
                0,
                0,
            ),
            _check(
                "timestamps",
                "WARNING" if n_dropped else "PASS",
                f"{n:,} times for {n:,} frames, {n_dropped:,} not measured",
                "one per frame, strictly increasing, finite, measured",
                message=f"{n_dropped:,} frames have an interpolated time" if n_dropped else "",
            ),
        ]
    else:
        checks += [
            _check("framerate", "NOT_SET", "", "", message="what it needs is missing"),
            _check("pin_state", "NOT_SET", "", "", message="what it needs is missing"),
            {**_check("timestamps", "CRITICAL", "", "", message=NO_PULSES.message), "error": NO_PULSES.to_json()},
        ]
    checks.append(_check("resolution", "PASS", "1280 x 1024", "1280 x 1024"))
    return {check["name"]: check for check in sorted(checks, key=lambda c: c["name"])}


def _thumbnails(rng: np.random.Generator, k: int, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    pictures = []
    for i in range(k):
        face = 120 * np.exp(-(((x - width * (0.55 + 0.02 * i)) / 90) ** 2) - ((y - height * 0.5) / 60) ** 2)
        eye = -90 * np.exp(-(((x - width * 0.6) / 14) ** 2) - ((y - height * 0.42) / 12) ** 2)
        fur = rng.normal(0, 9, (height // 4, width // 4)).repeat(4, 0).repeat(4, 1)[:height, :width]
        pictures.append(np.clip(50 + 30 * x / width + face + eye + fur + rng.normal(0, 3, x.shape), 0, 255))
    return np.array(pictures).astype(np.uint8)


def make_camera(
    label: str, n: int, fps: float, *, timed: bool = True, seed: int = 0, flawed: bool = False, thumb=(320, 256)
):
    rng = np.random.default_rng(seed)
    period = 1 / fps
    steps = period + rng.normal(0, 20e-6, n)
    quality = np.zeros(n, dtype=np.uint8)
    n_dropped = 3 if flawed else 0
    if flawed:
        steps[[n // 3, n // 3 + 400, n // 2]] = 2 * period, 2 * period, 5 * period
        quality[n // 2 : n // 2 + 3] = 1
        quality[-40:] = 2
    times = 12.4 + np.cumsum(steps)
    t = np.arange(n) / n
    bouts = np.clip(np.convolve(rng.normal(0, 1, 400), np.ones(5) / 5, "same"), 0, None)
    bouts = np.interp(t, np.linspace(0, 1, 400), bouts)
    brightness = (92 + 5 * np.sin(5 * t) + rng.normal(0, 0.8, n)).astype(np.float32)
    if flawed:
        brightness[n // 4] = 187
        brightness[3 * n // 4 : 3 * n // 4 + 26] = np.nan
    energy = {
        region: (0.7 + level * bouts * (1 + 0.4 * rng.normal(0, 1, n)) + rng.gamma(2, 0.1, n)).astype(np.float32)
        for region, level in (("whole", 1.5), ("wheel", 3.0))
    }
    matched = np.sort(rng.choice(n, min(n, 1204), replace=False)).astype(np.int64)
    residuals = -rng.uniform(0, period, len(matched))
    if flawed:
        residuals[len(matched) // 2 : len(matched) // 2 + 3] = 0.004, 0.011, 0.006
    size = {"left": (1280, 1024), "right": (640, 512)}.get(label, (640, 512))
    notes = ["1,204 of 1,204 pin changes coincide with one of 1,204 sync changes"]
    n_undecoded = int(np.isnan(brightness).sum())
    worst = "CRITICAL" if not timed else "FAIL" if flawed else "PASS"
    camera = CameraContent(
        label=label,
        qc={
            "outcome": worst,
            "checks": make_checks(n, timed=timed, n_dropped=n_dropped, n_undecoded=n_undecoded),
        },
        video={
            "frames": n,
            "width": size[0],
            "height": size[1],
            "fps": fps,
            "codec": "h264",
            "keyframes": n // 250,
            "hidden": 0,
            "video": f"/mnt/s0/Data/Subjects/SW_043/2023-05-01/001/raw_video_data/_iblrig_{label}Camera.raw.mp4",
        },
        brightness=brightness,
        sharpness_frames=np.arange(0, n, 10),
        sharpness=(140 + 20 * np.sin(9 * t[::10]) + rng.normal(0, 4, len(t[::10]))).astype(np.float32),
        motion_energy=energy,
        thumbnail_frames=np.array([(2 * i + 1) * n // 16 for i in range(8)]),
        thumbnails=_thumbnails(rng, 8, *thumb),
        n_decode_errors=n_undecoded,
    )
    if not timed:
        return dataclasses.replace(camera, no_times=NO_PULSES)
    return dataclasses.replace(
        camera,
        timing={
            "method": "pins",
            "n_pulses": n + 11,
            "n_surplus_start": 11,
            "n_surplus_end": 0,
            "n_missing_start": 0,
            "n_missing_end": 40 if flawed else 0,
            "n_dropped": n_dropped,
            "n_not_measured": int((quality > 0).sum()),
            "period_s": period,
            "drift_ppm": -11.37,
            "notes": [
                *notes,
                *(["the last 40 frames come after the last pulse; their times are extrapolated"] * flawed),
            ],
        },
        times_s=times,
        time_quality=quality,
        residual_frames=matched,
        residuals_s=residuals,
    )


def make_session(n: int, thumb=(320, 256)) -> SessionContent:
    cameras = (
        make_camera("body", n // 3, 30, timed=False, seed=1, thumb=thumb),
        make_camera("left", n, 60, seed=2, flawed=True, thumb=thumb),
        make_camera("right", n, 150, seed=3, thumb=thumb),
    )
    workers = [f"node07:{41200 + i}" for i in range(8)]
    steps = {}
    for name, many, seconds, kept in (
        ("index-body", 1, 0.4, 0),
        ("index-left", 1, 1.1, 0),
        ("index-right", 1, 1.0, 0),
        ("framepass-body", 12, 71.2, 0),
        ("framepass-left", 41, 512.7, 17),
        ("framepass-right", 36, 208.4, 0),
        ("times-left", 1, 2.2, 0),
        ("checks-left", 1, 3.1, 0),
        ("publish", 1, 0.1, 0),
    ):
        status = {"done": many - kept, **({"kept": kept} if kept else {})}
        steps[name] = {"n": many, "seconds": seconds, "status": status, "workers": workers[: min(8, many)]}
    steps["times-body"] = {"n": 1, "seconds": 0.8, "status": {"failed": 1}, "workers": workers[:1]}
    return SessionContent(
        reference="SW_043/2023-05-01/001",
        path="/mnt/s0/Data/Subjects/SW_043/2023-05-01/001",
        outputs="/scratch/results/cortexlab/Subjects/SW_043/2023-05-01/001",
        outcome="CRITICAL",
        cameras=cameras,
        ran={
            "run": "20230502T081233-4be1f0",
            "host": "node07",
            "n_workers": 8,
            "started_s": 1683015153.0,
            "seconds": 118.3,
            "steps": steps,
            "tasks": {"VideoRegisterRaw": "Complete", "VideoSyncQcNidq": "Errored", "VideoPose": "Abandoned"},
            "failures": [NO_PULSES.to_json()],
        },
        made={
            "time": "2023-05-02T08:14:31+00:00",
            "ibl_dask": "0.1.0",
            "av": "15.1.0",
            "numpy": "2.2.6",
            "opencv-python-headless": "4.12.0",
            "dask": "2025.9.1",
            "zarr": "3.1.3",
        },
    )


@pytest.fixture(scope="session")
def flawed_session() -> SessionContent:
    """A short session: body without pulses, left with drops and damaged frames, right without a flaw."""
    return make_session(1800, thumb=(40, 32))


@pytest.fixture(scope="session")
def long_session() -> SessionContent:
    """Three cameras of 540,000 frames."""
    cameras = tuple(
        make_camera(label, 540_000, 150, seed=i, flawed=True) for i, label in enumerate(("left", "right", "body"))
    )
    return dataclasses.replace(make_session(3000), cameras=cameras)


@pytest.fixture(scope="session")
def no_pulses() -> Failure:
    """The message of a camera without pulses."""
    return NO_PULSES
