"""Ensembles: several networks trained alike, merged into one table of keypoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UnequalLengths
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.known_values import known_median, known_variance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FRAMES_AT_ONCE = 20_000
"""Frames merged at once: bounds the memory for sorting."""


def merge_ensemble(members: Sequence[Keypoints]) -> Keypoints:
    """Merge the predictions of the members of an ensemble, frame by frame.

    x, y and likelihood become medians over the members. With two members or more, `{keypoint}_x_ens_median`,
    `{keypoint}_y_ens_median`, `{keypoint}_x_ens_var` and `{keypoint}_y_ens_var` are added as further columns: median
    and population variance, px and px^2, as the ensemble Kalman smoother computes them (`eks.core.ensemble`); it
    replaces x and y afterwards, and leaves the medians. A member without a prediction (NaN) does not count.

    Parameters
    ----------
    members : sequence of Keypoints
        One table per member, of the same frames and keypoints.

    Raises
    ------
    UnequalLengths
        If there is no member, or members have other frames or keypoints than the first.
    """
    first = _require_alike(members)
    if len(members) == 1:
        return first
    kind = np.result_type(*(member.values.dtype for member in members))
    median, variance = (np.empty(first.values.shape, kind) for _ in range(2))
    for start in range(0, len(first), _FRAMES_AT_ONCE):
        part = slice(start, start + _FRAMES_AT_ONCE)
        stack = np.stack([member.values[part] for member in members])
        median[part] = known_median(stack)
        variance[part] = known_variance(stack.astype(np.float64))
    further: dict[str, NDArray[np.generic]] = {}
    for i, name in enumerate(first.names):
        for kind_of, source in (("median", median), ("var", variance)):
            further |= {f"{name}_{axis}_ens_{kind_of}": source[:, i, j] for j, axis in enumerate("xy")}
    return Keypoints(first.names, median, further)


def _require_alike(members: Sequence[Keypoints]) -> Keypoints:
    if not members:
        raise UnequalLengths("an ensemble has no member", expected="one table of keypoints at least", got="none")
    first = members[0]
    for number, member in enumerate(members[1:], 2):
        if member.names != first.names or len(member) != len(first):
            raise UnequalLengths(
                "the members of an ensemble do not describe the same frames and keypoints",
                where=f"member {number}",
                expected=f"{len(first):,} frames of {', '.join(first.names)}",
                got=f"{len(member):,} frames of {', '.join(member.names)}",
                do="predict all members on the same video",
            )
    return first
