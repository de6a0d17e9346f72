"""Draw a failure of each check that shows in a picture: `python docs/make_check_pictures.py`.

Each picture is drawn by the report's own figures from evidence with that failure. The check judges the same evidence,
and its outcome is in the description of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ibl_dask.model.description import Camera
from ibl_dask.model.outcome import Outcome
from ibl_dask.qc.checks import run_checks
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.report import drawing, figures
from ibl_dask.report.axes import FrameAxis, lay_out_frames
from ibl_dask.report.figures import Panel, per_frame
from ibl_dask.synth.scene import Scene
from ibl_dask.synth.scene_motion import SceneState

FOLDER = Path(__file__).parent / "pictures" / "checks"
RATE_HZ, N = 30, 5400
STYLE = """<style>
svg{--ink:#24292f;--quiet:#6b7280;--grid:#e3e6ea;--line:#2457a6;--area:#b9cbe8;--band:#e2efe6;--off:#c2410c;--raised:#eef0f3;
--measured:#04724d;--interpolated:#c08a00;--extrapolated:#c2410c;--undecoded:#b91c1c;--assumed:#7c3aed;background:#fff}
text{font:15px sans-serif;fill:var(--ink)}.title{font-weight:600}.tick,.note{fill:var(--quiet)}
path{fill:none;vector-effect:non-scaling-stroke}.grid{stroke:var(--grid)}.line{stroke:var(--line);stroke-width:1.1}
.area{fill:var(--area);stroke:var(--area)}.reference{stroke:var(--quiet);stroke-dasharray:4 4}.band{fill:var(--band)}
.dot{stroke:var(--line);stroke-width:2.6;stroke-linecap:round}.dot.off{stroke:var(--off);stroke-width:5}.lane{fill:var(--raised)}
.bar{fill:var(--measured)}.bar.off{fill:var(--off)}.measured{fill:var(--measured)}.interpolated{fill:var(--interpolated)}
.extrapolated{fill:var(--extrapolated)}.undecoded{fill:var(--undecoded)}.assumed{fill:var(--assumed)}</style>"""
"""Colours of the report, on white, since a picture does not see the page around it."""


def in_order() -> CameraEvidence:
    """Return three minutes of a camera in order."""
    rng = np.random.default_rng(0)
    slow = 3 * np.sin(np.arange(N) / 900)
    return CameraEvidence(
        Camera("left", fps=RATE_HZ, width=320, height=256),
        N,
        320,
        256,
        RATE_HZ,
        times_s=np.arange(N) / RATE_HZ + rng.normal(0, 2e-5, N),
        timing_outcome=Outcome.PASS,
        count=np.arange(N),
        brightness=(90 + slow + rng.normal(0, 0.3, N)).astype(np.float32),
        motion_energy=rng.uniform(0.5, 3, N).astype(np.float32),
        sample_brightness=rng.normal(100, 3, 100),
        n_decode_errors=0,
        time_quality=np.zeros(N, np.uint8),
        residuals_s=-rng.uniform(0.1, 0.9, 40) / RATE_HZ,
        period_s=1 / RATE_HZ,
    )


def with_brightness(change: Callable[[NDArray[np.float32]], None]) -> CameraEvidence:
    """Return evidence with a change of the brightness of frames."""
    good = in_order()
    values = np.array(good.brightness)
    change(values)
    return replace(good, brightness=values)


def brightness_panel(evidence: CameraEvidence, axis: FrameAxis) -> Panel | None:
    """Draw the brightness of frames."""
    return figures.plot_series("Brightness of the QC region", "", per_frame(np.array(evidence.brightness)), axis)


def interval_panel(evidence: CameraEvidence, axis: FrameAxis) -> Panel | None:
    """Draw the time between frames."""
    return figures.plot_intervals(np.array(evidence.times_s), axis, evidence.period_s)


def black_frames() -> tuple[CameraEvidence, list[Panel | None]]:
    """Switch the lamp off for some seconds."""

    def change(values: NDArray[np.float32]) -> None:
        values[2000:2200] = 16.5

    evidence = with_brightness(change)
    return evidence, [brightness_panel(evidence, axis_of(evidence))]


def light_steps() -> tuple[CameraEvidence, list[Panel | None]]:
    """Open a door."""

    def change(values: NDArray[np.float32]) -> None:
        values[3100:] += 25

    evidence = with_brightness(change)
    return evidence, [brightness_panel(evidence, axis_of(evidence))]


def flicker() -> tuple[CameraEvidence, list[Panel | None]]:
    """Let the lamp flicker for half a minute."""

    def change(values: NDArray[np.float32]) -> None:
        values[1500:2400] += np.where(np.arange(900) % 3 == 0, 22, 0)

    evidence = with_brightness(change)
    return evidence, [brightness_panel(evidence, axis_of(evidence))]


def repeated_frames() -> tuple[CameraEvidence, list[Panel | None]]:
    """Write one picture for ten seconds."""
    good = in_order()
    values, energy = np.array(good.brightness), np.array(good.motion_energy)
    values[2400:2700], energy[2400:2698] = values[2400], 0
    evidence = replace(good, brightness=values, motion_energy=energy)
    axis = axis_of(evidence)
    motion = figures.plot_series("Motion energy of the wheel region", "", per_frame(energy), axis)
    return evidence, [motion]


def frame_intervals() -> tuple[CameraEvidence, list[Panel | None]]:
    """Lose a stretch of three seconds, and single frames."""
    good = in_order()
    times = np.array(good.times_s)
    times[3500:] += 3
    for place in (900, 1700, 4300):
        times[place:] += 1 / RATE_HZ
    evidence = replace(good, times_s=times)
    return evidence, [interval_panel(evidence, axis_of(evidence))]


def dropped_frames() -> tuple[CameraEvidence, list[Panel | None]]:
    """Drop single frames, as a disk that is too slow does."""
    good = in_order()
    rng = np.random.default_rng(1)
    lost = np.zeros(N, np.int64)
    lost[rng.choice(np.arange(2500, 4000), 40, replace=False)] = 1
    count = np.arange(N) + np.cumsum(lost)
    evidence = replace(good, count=count, times_s=np.array(good.times_s) + np.cumsum(lost) / RATE_HZ)
    axis = axis_of(evidence)
    ahead = figures.plot_series(
        "Frames lost so far: counter minus frame", "", per_frame(count - np.arange(N) * 1.0), axis
    )
    return evidence, [ahead]


def framerate() -> tuple[CameraEvidence, list[Panel | None]]:
    """Run a camera of 30 Hz at 25 Hz."""
    rng = np.random.default_rng(2)
    evidence = replace(in_order(), times_s=np.arange(N) / 25 + rng.normal(0, 2e-5, N))
    return evidence, [interval_panel(evidence, axis_of(evidence))]


def pulse_residuals() -> tuple[CameraEvidence, list[Panel | None]]:
    """Shift frames by one from the middle on."""
    frames = np.linspace(60, N - 60, 40).astype(np.int64)
    good = in_order()
    residuals = np.array(good.residuals_s)
    residuals[22:] -= 1 / RATE_HZ
    evidence = replace(good, residuals_s=residuals)
    return evidence, [figures.plot_residuals(frames, residuals, axis_of(evidence), evidence.period_s)]


def reckoned_times() -> tuple[CameraEvidence, list[Panel | None]]:
    """Miss pulses in the middle and at the end."""
    quality = np.zeros(N, np.uint8)
    quality[1500:1650], quality[5200:] = 1, 2
    evidence = replace(in_order(), time_quality=quality, n_not_measured=int(np.count_nonzero(quality)))
    return evidence, [figures.plot_lanes(quality, None, axis_of(evidence))]


def timestamps() -> tuple[CameraEvidence, list[Panel | None]]:
    """Match frames and pulses by number alone."""
    quality = np.full(N, 3, np.uint8)
    evidence = replace(in_order(), time_quality=quality, n_not_measured=N, n_assumed=N, timing_outcome=Outcome.FAIL)
    return evidence, [figures.plot_lanes(quality, None, axis_of(evidence))]


def decoding() -> tuple[CameraEvidence, list[Panel | None]]:
    """Damage two groups of pictures."""
    lost = np.zeros(N, bool)
    lost[1000:1120] = lost[4000:4030] = True
    evidence = replace(in_order(), n_decode_errors=int(lost.sum()), undecoded_runs=((1000, 1119), (4000, 4029)))
    return evidence, [figures.plot_lanes(evidence.time_quality, lost, axis_of(evidence))]


def scenes() -> NDArray[np.uint8]:
    """Return eight small pictures of the left camera, (picture, y, x)."""
    scene = Scene("left", 320, 256)
    drawn = (scene.draw(i, SceneState(wheel_rad=0.4 * i)) for i in range(8))
    return np.stack([cv2.resize(one, (80, 64), interpolation=cv2.INTER_AREA) for one in drawn])


def camera_movement() -> tuple[CameraEvidence, list[NDArray[np.uint8]]]:
    """Push the camera after half of the session."""
    pictures = scenes()
    pictures[4:] = np.roll(pictures[4:], (6, 9), axis=(1, 2))
    evidence = replace(in_order(), thumbnails=pictures, thumbnail_frames=np.arange(N // 16, N, N // 8))
    return evidence, [pictures[1], pictures[3], pictures[4], pictures[6]]


def brightness() -> tuple[CameraEvidence, list[NDArray[np.uint8]]]:
    """Leave the lamp off: bright pictures beside dark ones."""
    pictures = scenes()
    dark = (pictures * 0.16).astype(np.uint8)
    rng = np.random.default_rng(0)
    evidence = replace(in_order(), sample_brightness=rng.normal(14, 1, 100))
    return evidence, [pictures[1], pictures[3], dark[4], dark[6]]


def focus() -> tuple[CameraEvidence, list[NDArray[np.uint8]]]:
    """Turn the lens: sharp pictures beside blurred ones."""
    pictures = scenes()
    blurred = [cv2.GaussianBlur(one, (0, 0), 2.5) for one in pictures]
    evidence = replace(in_order(), sample_laplacian=np.full((20, 2), 9.0), sample_high_frequency=np.full(20, 0.8))
    return evidence, [pictures[1], pictures[3], blurred[4], blurred[6]]


DRAWN: Mapping[str, Callable[[], tuple[CameraEvidence, list[Panel | None]]]] = {
    each.__name__: each
    for each in (
        *(black_frames, decoding, dropped_frames, flicker, frame_intervals, framerate, light_steps),
        *(pulse_residuals, reckoned_times, repeated_frames, timestamps),
    )
}
"""Check -> its failure as panels along the frames."""
PHOTOGRAPHED: Mapping[str, Callable[[], tuple[CameraEvidence, list[NDArray[np.uint8]]]]] = {
    each.__name__: each for each in (brightness, camera_movement, focus)
}
"""Check -> its failure as pictures of the camera, the first two in order."""


def axis_of(evidence: CameraEvidence) -> FrameAxis:
    """Return the axis of a camera."""
    return lay_out_frames(evidence.times_s, evidence.n_frames)


def outcome_of(name: str, evidence: CameraEvidence) -> Outcome:
    """Let the check judge the evidence."""
    (result,) = run_checks(evidence, (name,))
    return result.outcome


def outcomes() -> dict[str, Outcome]:
    """Return the outcome that each check gives to its picture."""
    return {name: outcome_of(name, make()[0]) for name, make in (*DRAWN.items(), *PHOTOGRAPHED.items())}


def standalone(svg: str) -> str:
    """Return a drawing as a file of its own, with larger text than on a page of its width."""
    wide = svg.replace('<svg viewBox="0 0 1180', '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-40 0 1220', 1)
    return wide.replace(">", f">{STYLE}", 1)


def mosaic(pictures: list[NDArray[np.uint8]], label: str) -> str:
    """Return pictures side by side as SVG."""
    body = "".join(
        f'<image x="{12 + 292 * i}" y="8" width="280" height="224" href="{figures.picture(picture)}"/>'
        for i, picture in enumerate(pictures)
    )
    return drawing.frame_drawing(figures.WIDTH_PX, 240, body, label)


def drawings() -> dict[str, str]:
    """Return the picture of each check, SVG."""
    made = {}
    for name, draw in DRAWN.items():
        evidence, panels = draw()
        label = f"{name}: {outcome_of(name, evidence).name}"
        made[name] = standalone(figures.stack(panels, axis_of(evidence), label))
    for name, take in PHOTOGRAPHED.items():
        evidence, pictures = take()
        made[name] = standalone(mosaic(pictures, f"{name}: {outcome_of(name, evidence).name}"))
    return made


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, svg in drawings().items():
        (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
        print(f"{name}: {outcomes()[name].name}, {len(svg) / 1000:.0f} kB")
