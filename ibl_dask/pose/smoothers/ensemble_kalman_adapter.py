"""Ensemble Kalman smoother of the package `ensemble-kalman-smoother` 4.6, for the host: one self-contained file.

`pupil` smooths the four points of a pupil as a circle whose diameter and centre are autoregressive, `keypoints` each
point by itself as a random walk. Both take the median over the members, and the variance over the members divided by
their mean likelihood as the error of each observation.

The library's table of a pupil has its columns under other names than their values: the block headed `pupil_bottom_r`
is that of the right point, and posterior variances of all points but the first are those of other coordinates
(`eks.ibl_pupil_smoother`, 3.0.0 to 4.6.2). Here the blocks are told apart by their medians, and the variances are
taken from the covariance of the state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    Array = Any

PUPIL = ("pupil_top_r", "pupil_bottom_r", "pupil_right_r", "pupil_left_r")
"""Points of a pupil in the order that the library takes them in."""
MODES = {"avg_mode": "median", "var_mode": "confidence_weighted_var"}
"""As iblvideo 3.2.0 calls it (`pose_lp_utils.run_eks`)."""
FIELDS = ("x", "y", "likelihood", "x_ens_median", "y_ens_median", "x_ens_var", "y_ens_var", "x_post", "y_post")
"""Values of a point in the result, and in the table of the library."""
OBSERVED = np.array([[0, 1, 0], [-0.5, 0, 1], [0, 1, 0], [0.5, 0, 1], [0.5, 1, 0], [0, 0, 1], [-0.5, 1, 0], [0, 0, 1]])
"""Coordinates of `PUPIL` from diameter and centre."""


class SmootherError(Exception):
    """Error that a user can mend."""

    def __init__(self, what: str, category: str, expected: str = "", got: str = "", do: str = "") -> None:
        super().__init__(what)
        self.category, self.expected, self.got, self.do = category, expected, got, do


class Smoother:
    """The library with its parameters."""

    def __init__(self, options: dict[str, Any], keypoints: list[str]) -> None:
        from importlib.metadata import version

        self._options, self._keypoints = options, keypoints
        self.build = "ensemble-kalman-smoother {} jax {}".format(version("ensemble-kalman-smoother"), version("jax"))

    def info(self) -> dict[str, Any]:
        """Return the declaration of the smoother."""
        return {"keypoints": self._keypoints, "build": self.build}

    def smooth(self, members: Array) -> Array:
        """Return the smoothed series: nine values (`FIELDS`) of each point.

        Parameters
        ----------
        members : (member, frame, keypoint, 3) ndarray
            x, y and likelihood, all finite.
        """
        found = self._pupil(members) if self._options["kind"] == "pupil" else self._single(members)
        found[..., 7:] *= float(self._options.get("inflation", 1.0))
        return found

    def _single(self, members: Array) -> Array:
        from eks.singlecam_smoother import ensemble_kalman_smoother_singlecam

        # The library drops the axis of a single point.
        given = np.repeat(members, 2, axis=2) if members.shape[2] == 1 else members
        names = [f"point{number}" for number in range(given.shape[2])]
        table, _ = ensemble_kalman_smoother_singlecam(
            marker_array=_markers(given), keypoint_names=names, smooth_param=float(self._options["s"]), **MODES
        )
        return table.to_numpy().reshape(len(table), len(names), len(FIELDS))[:, : members.shape[2]].copy()

    def _pupil(self, members: Array) -> Array:
        from eks import ibl_pupil_smoother

        order = [self._keypoints.index(name) for name in PUPIL]
        given = members[:, :, order]
        states: list[Any] = []
        run = ibl_pupil_smoother.run_pupil_kalman_smoother

        def run_and_keep(**parameters: Any) -> Any:
            found = run(**parameters)
            states.append(found[2])
            return found

        ibl_pupil_smoother.run_pupil_kalman_smoother = run_and_keep
        try:
            table, _ = ibl_pupil_smoother.ensemble_kalman_smoother_ibl_pupil(
                marker_array=_markers(given),
                keypoint_names=list(PUPIL),
                smooth_params=[float(self._options["diameter"]), float(self._options["centre"])],
                **MODES,
            )
        finally:
            ibl_pupil_smoother.run_pupil_kalman_smoother = run
        blocks = table.to_numpy().reshape(len(table), len(PUPIL), len(FIELDS))
        medians = np.median(given[..., :2].astype(np.float32), axis=0)
        ordered = blocks[:, block_of_each(blocks[..., 3:5], medians)].copy()
        ordered[..., 2] = given[..., 2].mean(axis=0)
        variances = np.einsum("ij,tjk,ik->ti", OBSERVED, np.asarray(states[0], np.float64), OBSERVED)
        ordered[..., 7:] = variances.reshape(-1, len(PUPIL), 2)
        found = np.empty_like(ordered)
        found[:, order] = ordered
        return found


def block_of_each(blocks: Array, medians: Array) -> list[int]:
    """Return the block of the library's table that holds each point.

    Parameters
    ----------
    blocks : (frame, block, 2) ndarray
        Columns of medians, as the library gives them.
    medians : (frame, point, 2) ndarray
        Medians of the points.
    """
    apart = np.abs(blocks[:, None] - medians[:, :, None]).max(axis=(0, 3))
    found = [int(number) for number in apart.argmin(axis=1)]
    if sorted(found) != list(range(len(found))) or apart.min(axis=1).max() > 0.01:
        raise SmootherError(
            "this version of the ensemble Kalman smoother gives other columns",
            "environment",
            "the medians of the points among its columns",
            f"medians that differ by {apart.min(axis=1).max():g} px",
            "install ensemble-kalman-smoother==4.6.2",
        )
    return found


def _markers(members: Array) -> Any:
    from eks.marker_array import MarkerArray

    return MarkerArray(np.ascontiguousarray(members)[:, None], data_fields=["x", "y", "likelihood"])


def load(weights: str | None, options: dict[str, Any], keypoints: list[str], device: str) -> Smoother:
    """Return the smoother, once its library works."""
    import eks  # noqa: F401

    if options["kind"] == "pupil" and sorted(keypoints) != sorted(PUPIL):
        raise SmootherError(
            "these are not the points of a pupil",
            "usage",
            ", ".join(PUPIL),
            ", ".join(keypoints),
            "smooth this network by `kind: keypoints`, or name its keypoints so",
        )
    return Smoother(options, keypoints)
