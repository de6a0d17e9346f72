"""What the pictures show over a whole session: checks that the reference lacks.

The reference looks at 100 frames. These look at every frame, through the numbers that the frame pass leaves of each,
and so cost nothing per frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.model.frame_ranges import find_runs, format_runs
from ibl_dask.model.outcome import CheckResult, Number, Outcome
from ibl_dask.qc.evidence import CameraEvidence, FaceEvidence
from ibl_dask.qc.registry import check

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLACK_LUMA = 20
MAX_BLACK_SHARE = 0.25
REPEATED_SHARE = 0.01
FROZEN_S = 1.0
STEP_LUMA = 10
STEP_WINDOW_S = 15
FLICKER_LUMA = 10
FLICKER_SHARES = (0.001, 0.01)
MOVED_PERCENT = (1, 10)
_SURE_RESPONSE, _LEAST_RESPONSE = 0.5, 0.1
_AGREEING_PX = 2.0
_TRUSTED_SCORE = 0.5
_INTERVALS_S = (1e-5, 100)
"""Other intervals are of no camera."""

_UNSEEN = "no frame was decoded"


@check
def check_decoding(evidence: CameraEvidence) -> CheckResult | str:
    """Ask for every frame of the video to decode undamaged; the reference reads damaged frames as black."""
    if evidence.n_decode_errors is None:
        return _UNSEEN
    return CheckResult(
        "decoding",
        Outcome.FAIL if evidence.n_decode_errors else Outcome.PASS,
        measured=f"{evidence.n_decode_errors:,} of {evidence.n_frames:,} frames do not decode",
        threshold="none",
        message=f"frames {format_runs(evidence.undecoded_runs)}; decode_error of the per-frame store names every one"
        if evidence.undecoded_runs
        else "",
        values={
            "n_undecoded": evidence.n_decode_errors,
            "share_undecoded": evidence.n_decode_errors / evidence.n_frames,
        },
    )


@check
def check_black_frames(evidence: CameraEvidence) -> CheckResult | str:
    """Count frames whose QC region is black: the light is off, or something covers the lens.

    Notes
    -----
    Black has a luma of 16 in the range that video compression uses, to which noise of a sensor in the dark adds some:
    20. Rigs light their cameras throughout, so that one black frame is worth a WARNING. FAIL from a quarter of the
    frames on, the share at which `brightness` fails.
    """
    brightness = _decoded(evidence)
    if brightness is None:
        return _UNSEEN
    black = brightness <= BLACK_LUMA
    n_decoded = int(np.count_nonzero(~np.isnan(brightness)))
    share = int(np.count_nonzero(black)) / n_decoded
    runs = find_runs(black)
    outcome = Outcome.FAIL if share >= MAX_BLACK_SHARE else Outcome.WARNING
    return CheckResult(
        "black_frames",
        outcome if runs else Outcome.PASS,
        measured=f"{np.count_nonzero(black):,} of {n_decoded:,} frames that decode are black ({share:.2%})",
        threshold=f"none with a mean luma of {BLACK_LUMA} or less; FAIL from {MAX_BLACK_SHARE:.0%} on",
        message=f"frames {format_runs(runs)}" if runs else "",
        values={"n_black": int(np.count_nonzero(black)), "share_black": share, "n_runs": len(runs)},
    )


@check
def check_repeated_frames(evidence: CameraEvidence) -> CheckResult | str:
    """Look for frames that repeat the one before, as a driver writes them while it waits for the camera.

    A frame repeats another where the mean luma of the QC region is equal to the last bit and, from the third equal
    frame on, the motion energy of the wheel region is zero: both are there already, so that nothing is added to a
    frame.

    Notes
    -----
    A sensor has noise: of the sums of several 100,000 pixels two equal ones in a row are met once in some thousand
    frames. (Real recordings of 994 and 1,000 frames hold none.) An encoder may however copy a whole still picture. So
    single repeats are let pass up to one in a hundred, WARNING; a picture that stands for a second is as bad as a gap
    of a second in the times, FAIL.
    """
    brightness, rate = _decoded(evidence), _rate_hz(evidence)
    if brightness is None or evidence.motion_energy is None or rate is None:
        return _UNSEEN if rate is not None else "the frame rate is not known"
    repeats = _repeats(brightness, evidence.motion_energy)
    runs = find_runs(repeats)
    lengths = [last - first + 1 for first, last in runs]
    longest = max(lengths, default=0)
    share = float(np.mean(repeats))
    frozen = [run for run, length in zip(runs, lengths, strict=True) if length >= round(FROZEN_S * rate)]
    return CheckResult(
        "repeated_frames",
        Outcome.FAIL if frozen else Outcome.WARNING if share >= REPEATED_SHARE else Outcome.PASS,
        measured=f"{np.count_nonzero(repeats):,} of {len(repeats):,} frames repeat the one before ({share:.2%}), "
        f"at most {longest:,} in a row ({longest / rate:.2g} s)",
        threshold=f"under {REPEATED_SHARE:.0%} of frames; FAIL from {FROZEN_S:g} s in a row on",
        message=f"frames {format_runs(frozen)}" if frozen else "",
        values={
            "n_repeated": int(np.count_nonzero(repeats)),
            "share_repeated": share,
            "longest_frames": longest,
            "longest_s": longest / rate,
        },
    )


def _repeats(brightness: NDArray[np.float32], motion_energy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which frames repeat the one before. (frame,)"""
    repeats = np.zeros(len(brightness), np.bool_)
    repeats[1:] = brightness[1:] == brightness[:-1]
    # Motion energy compares a frame with the one two later: it has a say where three in a row are equally bright.
    coincidence = repeats[1:-1] & repeats[2:] & (motion_energy[: len(repeats) - 2] > 0)
    differs = np.zeros(len(brightness), np.bool_)
    differs[1:-1] |= coincidence
    differs[2:] |= coincidence
    return repeats & ~differs


@check
def check_light_steps(evidence: CameraEvidence) -> CheckResult | str:
    """Look for moments at which the picture becomes brighter or darker and stays so: a lamp, a door, a cover.

    Means of each second are compared: the median of 15 seconds with that of the 15 before.

    Notes
    -----
    What an animal does for up to six seconds the medians forget. A step of 10 grey levels in the middle
    of a session spreads the means of frames by 5, a quarter of what `brightness` fails at; it is half of the room that
    a picture at its lower limit (40) has to the limit of FAIL (20). A picture may be good on either side of a step, so
    this is a WARNING, for people to look.
    """
    brightness, rate = _decoded(evidence), _rate_hz(evidence)
    if brightness is None or rate is None:
        return _UNSEEN if rate is not None else "the frame rate is not known"
    starts = np.arange(0, len(brightness), max(1, round(rate)))
    seen = np.add.reduceat((~np.isnan(brightness)).astype(float), starts)
    starts, seen = starts[seen > 0], seen[seen > 0]
    if len(starts) < 2 * STEP_WINDOW_S:
        return f"the video is shorter than {2 * STEP_WINDOW_S} s"
    means = np.add.reduceat(np.nan_to_num(brightness.astype(float)), starts) / seen
    medians = np.median(np.lib.stride_tricks.sliding_window_view(means, STEP_WINDOW_S), axis=1)
    steps = medians[STEP_WINDOW_S:] - medians[:-STEP_WINDOW_S]
    # Medians of seconds beside the right one see the same step; the means themselves jump there.
    places = slice(STEP_WINDOW_S, STEP_WINDOW_S + len(steps))
    frames, jumps = starts[places], np.abs(np.diff(means, prepend=means[0]))[places]
    runs = find_runs(np.abs(steps) >= STEP_LUMA)
    at = [first + int(np.argmax(jumps[first : last + 1])) for first, last in runs]
    largest = max(at or range(len(steps)), key=lambda i: abs(steps[i]))
    told = ", ".join(f"{frames[i]:,} ({steps[i]:+.0f})" for i in at[:5]) + (", ..." if len(at) > 5 else "")
    return CheckResult(
        "light_steps",
        Outcome.WARNING if at else Outcome.PASS,
        measured=f"{len(at):,} steps, the largest of {steps[largest]:+.1f} grey levels "
        f"at about frame {frames[largest]:,}",
        threshold=f"none of {STEP_LUMA} grey levels between {STEP_WINDOW_S} s and the {STEP_WINDOW_S} s before",
        message=f"about frames {told}" if at else "",
        values={
            "n_steps": len(at),
            "largest_step_luma": float(steps[largest]),
            "largest_step_frame": int(frames[largest]),
        },
    )


@check
def check_flicker(evidence: CameraEvidence) -> CheckResult | str:
    """Count frames whose brightness jumps from that of the frame before.

    Notes
    -----
    The mean of a region that holds a third of the picture changes by 1 or 2 grey levels from frame to frame while an
    animal moves; 10 are the light. Switching a lamp makes a jump or two. More than one in a thousand frames is a lamp
    or a shutter that flickers, WARNING; from one in a hundred on motion energy measures the lamp, FAIL. The reference
    samples a frame now and then, which can meet the bright ones alone.
    """
    brightness = _decoded(evidence)
    if brightness is None:
        return _UNSEEN
    changes = np.abs(np.diff(brightness))
    known = int(np.count_nonzero(~np.isnan(changes)))
    if known == 0:
        return "there are no two frames in a row"
    jumps = int(np.count_nonzero(changes >= FLICKER_LUMA))
    share = jumps / known
    return CheckResult(
        "flicker",
        Outcome.PASS if share < FLICKER_SHARES[0] else Outcome.WARNING if share < FLICKER_SHARES[1] else Outcome.FAIL,
        measured=f"brightness jumps {jumps:,} times in {known:,} ({share:.2%}), by {np.nanmax(changes):.1f} at most",
        threshold=f"jumps of {FLICKER_LUMA} grey levels at under {{:.1%}} of frames (WARNING {{:.0%}})".format(
            *FLICKER_SHARES
        ),
        values={"n_jumps": jumps, "share_jumps": share, "largest_jump_luma": float(np.nanmax(changes))},
    )


@check
def check_camera_movement(evidence: CameraEvidence) -> CheckResult | str:
    """Ask whether the camera stayed where it was: the pictures before and after each moment are laid over each other.

    Notes
    -----
    Thumbnails judge, not the template. Most of what they show is the rig, so that their shift is the camera's; the
    median of those before and of those after a moment forgets the animal, even one that runs through the picture; and
    they are always there. Their shift is found by phase correlation to a fraction of their pixels, whatever the light.
    The template follows the animal: it moves with a head plate that comes loose, and with a camera. Its shift between
    the first and the last third of the samples, to a pixel and only where there is a reference frame, stands beside as
    a number.

    The regions in which brightness and the wheel are measured are fixed: 1 % of the frame, 3 pixels of a thumbnail, is
    a twentieth of the height of the wheel's region: WARNING. Still cameras gave 0.3 pixels at most on a mouse in an
    open field, 2.5 on one that fills the picture and runs. FAIL from 10 % on, where `position` says that a camera is
    not well placed. With eight pictures a session, a camera that is moved and moved back within minutes is not seen.
    """
    if evidence.thumbnails is None or evidence.thumbnail_frames is None or not evidence.thumbnails.size:
        return _UNSEEN
    shown = evidence.thumbnails.reshape(len(evidence.thumbnails), -1).std(axis=1) >= 1
    pictures, frames = evidence.thumbnails[shown], evidence.thumbnail_frames[shown]
    if len(pictures) < 4:
        return "there are fewer than four pictures that show anything"
    found = _largest_shift(pictures)
    if found is None:
        return "the pictures are too unlike each other to be laid over each other"
    (dx, dy), split = found
    dx, dy = dx * evidence.width / pictures.shape[2], dy * evidence.height / pictures.shape[1]
    dx_percent, dy_percent = 100 * dx / evidence.width, 100 * dy / evidence.height
    largest = max(abs(dx_percent), abs(dy_percent))
    face = _face_shift(evidence.face)
    beside = "" if face is None else f"; the face by {face[0]:+z.0f}, {face[1]:+z.0f} px from first to last third"
    return CheckResult(
        "camera_movement",
        Outcome.PASS if largest < MOVED_PERCENT[0] else Outcome.WARNING if largest < MOVED_PERCENT[1] else Outcome.FAIL,
        measured=f"the picture moves by {dx:+z.1f}, {dy:+z.1f} px at most, between frames "
        f"{frames[split - 1]:,} and {frames[split]:,}{beside}",
        threshold="under {} % of width and height (WARNING {} %)".format(*MOVED_PERCENT),
        values={
            "shift_x_px": dx,
            "shift_y_px": dy,
            "shift_x_percent": dx_percent,
            "shift_y_percent": dy_percent,
            "last_frame_before": int(frames[split - 1]),
            "first_frame_after": int(frames[split]),
            **_named(face),
        },
    )


def _largest_shift(pictures: NDArray[np.uint8]) -> tuple[tuple[float, float], int] | None:
    """Return the largest shift (x, y) between the pictures before and after a split, px, and the split; None if unsure.

    A shift counts where the correlation is high, or where the next split agrees.
    """
    window = cv2.createHanningWindow(pictures.shape[:0:-1], cv2.CV_32F)
    splits = range(1, len(pictures))
    shifts, responses = np.empty((len(splits), 2)), np.empty(len(splits))
    for i, split in enumerate(splits):
        shifts[i], responses[i] = cv2.phaseCorrelate(*_medians(pictures, split), window)
    likely = responses >= _LEAST_RESPONSE
    agree = (np.hypot(*np.diff(shifts, axis=0).T) <= _AGREEING_PX) & likely[1:] & likely[:-1]
    counts = (responses >= _SURE_RESPONSE) | np.append(agree, False) | np.insert(agree, 0, False)
    if not counts.any():
        return None
    best = int(np.argmax(np.where(counts, np.hypot(*shifts.T), -1)))
    return (float(shifts[best, 0]), float(shifts[best, 1])), _first_after(pictures, splits[best])


def _medians(pictures: NDArray[np.uint8], split: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what the pictures before and after a split have in common. (y, x)"""
    before, after = (np.median(part, axis=0).astype(np.float32) for part in (pictures[:split], pictures[split:]))
    return before, after


def _first_after(pictures: NDArray[np.uint8], split: int) -> int:
    """Return the first picture that is more like those after a split; by majority, splits beside the right one do."""
    scaled = pictures / pictures.mean(axis=(1, 2), keepdims=True)
    to_before, to_after = (np.abs(scaled - one / one.mean()).mean(axis=(1, 2)) for one in _medians(pictures, split))
    later = np.flatnonzero(to_after[1:] < to_before[1:])
    return int(later[0]) + 1 if len(later) else split


def _face_shift(face: FaceEvidence | None) -> tuple[float, float] | None:
    """Return how far the face moved from the first third of the samples to the last, px; None where it is not seen."""
    if face is None:
        return None
    third = len(face.x) // 3
    seen = face.score >= _TRUSTED_SCORE
    parts = [np.flatnonzero(seen[:third]), len(seen) - third + np.flatnonzero(seen[len(seen) - third :])]
    if any(len(part) == 0 for part in parts):
        return None
    first, last = ((float(np.median(face.x[part])), float(np.median(face.y[part]))) for part in parts)
    return last[0] - first[0], last[1] - first[1]


def _named(shift: tuple[float, float] | None) -> dict[str, Number]:
    return {} if shift is None else {"face_shift_x_px": shift[0], "face_shift_y_px": shift[1]}


def _decoded(evidence: CameraEvidence) -> NDArray[np.float32] | None:
    """Return the brightness of each frame; None where no frame has one."""
    values = evidence.brightness
    return None if values is None or len(values) == 0 or np.isnan(values).all() else values


def _rate_hz(evidence: CameraEvidence) -> float | None:
    """Return the rate of the frames, by their times, else by the video's header; None where neither tells."""
    times = evidence.times_s
    if times is not None and len(times) > 1:
        interval = float(np.median(np.diff(times)))
        if _INTERVALS_S[0] < interval < _INTERVALS_S[1]:
            return 1 / interval
    return evidence.header_fps if np.isfinite(evidence.header_fps) and evidence.header_fps > 0 else None
