"""Tolerated difference between numbers of frames: 1 s or 0.5 % of them, whichever is more."""

TOLERATED_S = 1.0
"""Frames of this much time may be missing or in excess, s: cameras and their software are not stopped at once."""
TOLERATED_SHARE = 0.005
"""Share of the frames that may be missing or in excess, where that is more than `TOLERATED_S`: 18 s of an hour."""


def tolerated_frames(n_frames: int, period_s: float, seconds: float = TOLERATED_S) -> int:
    """Return the number of frames by which two records of one camera may differ.

    Parameters
    ----------
    n_frames : int
        Frames of the longer record, or of the video.
    period_s : float
        Usual time between frames, s: the inverse of the frame rate.
    seconds : float
        Tolerated time, s; `TOLERATED_S` unless the clock is recorded otherwise (see `alignment.clock_policy.BPOD`).

    Returns
    -------
    int
        ``max(round(seconds / period_s), floor(TOLERATED_SHARE * n_frames))``.

    Examples
    --------
    >>> tolerated_frames(3_000, 1 / 60), tolerated_frames(216_000, 1 / 60)
    (60, 1080)
    """
    return max(round(seconds / period_s), int(TOLERATED_SHARE * n_frames))
