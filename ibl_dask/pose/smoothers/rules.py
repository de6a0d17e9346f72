"""How an ensemble is smoothed over the frames of a video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

SmoothingKind = Literal["pupil", "keypoints"]
"""Model of an ensemble Kalman smoother: a circle, or points that move independently."""
SLOW_HZ = (25.0, 35.0)
"""Rates of training rigs, for which iblvideo smooths less (`pose_lp_utils.run_eks`)."""


@dataclass(frozen=True, slots=True)
class EnsembleSmoothing:
    """Parameters of an ensemble Kalman smoother; the defaults are those of iblvideo 3.2.0."""

    kind: SmoothingKind
    """Model."""
    diameter: float = 0.9999
    """Of `pupil`: autocorrelation of the diameter from frame to frame, 0 to 1; more is smoother."""
    centre: float = 0.999
    """Of `pupil`: autocorrelation of the centre, 0 to 1."""
    s: float = 10.0
    """Of `keypoints`: variance of a step from frame to frame, px^2; less is smoother."""
    s_slow: float | None = None
    """`s` for videos of `SLOW_HZ`; None for `s`."""
    inflation: float = 1.0
    """Factor of the posterior variances, which makes them those of the errors on labelled frames."""

    def parameters(self, rate_hz: float) -> Mapping[str, object]:
        """Return the parameters for a video; JSON.

        Parameters
        ----------
        rate_hz : float
            Rate of the header of the video, Hz.

        >>> EnsembleSmoothing("keypoints", s_slow=100.0).parameters(30.0)["s"]
        100.0
        """
        is_slow = self.s_slow is not None and SLOW_HZ[0] <= rate_hz <= SLOW_HZ[1]
        content = asdict(self)
        slow = content.pop("s_slow")
        return {**content, "s": slow if is_slow else self.s}


IBL_PUPIL = EnsembleSmoothing("pupil")
"""Smoothing of IBL's eye networks."""
IBL_PAWS = EnsembleSmoothing("keypoints", s_slow=100.0, inflation=100.0)
"""Smoothing of IBL's paw networks."""
