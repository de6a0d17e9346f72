"""Keypoints of a camera: one row per frame of its video, and the columns of the tables of the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingKeypoints, UnequalLengths, UnusableFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

LIKELY = 0.9
"""Likelihood from which a keypoint counts (`brainbox.behavior.dlc.likelihood_threshold`)."""
_PARTS = ("x", "y", "likelihood")
_X, _Y, _LIKELIHOOD = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """Keypoints of one camera; row *i* belongs to frame *i*."""

    names: tuple[str, ...]
    """Names of the keypoints, in the order of their columns."""
    values: Floats
    """x and y in pixels of the video's frames, from the centre of the top left pixel, and likelihood, 0 to 1.
    (frame, keypoint, 3)"""
    further: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """Further columns of the table, such as medians and variances of an ensemble, by their names. (frame,) each"""

    def __post_init__(self) -> None:
        n_frames, wanted = len(self.values), (len(self.names), len(_PARTS))
        if self.values.shape[1:] != wanted:
            raise UnequalLengths(
                "an array of keypoints has another shape",
                expected=f"(frame, {wanted[0]}, {wanted[1]}): {', '.join(self.names)}",
                got=str(self.values.shape),
            )
        uneven = {name: len(column) for name, column in self.further.items() if len(column) != n_frames}
        if uneven:
            raise UnequalLengths(
                "columns of one table of keypoints differ in length",
                expected=f"{n_frames:,} rows, one per frame",
                got=", ".join(f"{name}: {n:,}" for name, n in uneven.items()),
            )

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.values)

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[np.generic]], where: str = "") -> Keypoints:
        """Read the columns of a table, `{keypoint}_x`, `{keypoint}_y` and `{keypoint}_likelihood`.

        Parameters
        ----------
        columns : mapping
            Columns by name, in the order of the table; those of other names are kept in `further`.
        where : str
            The file, for messages.

        Raises
        ------
        UnusableFile
            If there is no keypoint, a keypoint lacks one of its three columns, or one of them holds no numbers.
        UnequalLengths
            If columns differ in length.
        """
        names = tuple(n.removesuffix("_likelihood") for n in columns if n.endswith("_likelihood"))
        stray = {n.rpartition("_")[0] for n in columns if n.endswith(("_x", "_y"))} - set(names)
        absent = [f"{n}_{part}" for n in names for part in _PARTS if f"{n}_{part}" not in columns]
        absent += [f"{name}_likelihood" for name in sorted(stray)]
        if absent or not names:
            raise UnusableFile(
                "this is no table of keypoints",
                where=where,
                expected="the columns x, y and likelihood of every keypoint",
                got=f"no column {', '.join(absent)}" if absent else f"the columns {', '.join(columns) or '(none)'}",
                do="make it anew from the video",
            )
        own = {f"{name}_{part}": columns[f"{name}_{part}"] for name in names for part in _PARTS}
        worded = [name for name, column in own.items() if column.dtype.kind not in "fiu"]
        if worded:
            raise UnusableFile(
                "a table of keypoints holds other things than numbers",
                where=where,
                expected="numbers",
                got=f"{own[worded[0]].dtype} in {', '.join(worded)}",
                do="make it anew from the video",
            )
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise UnequalLengths("columns of one table differ in length", where, "one length", str(sorted(lengths)))
        kind = np.result_type(np.float32, *(column.dtype for column in own.values()))
        values = np.empty((lengths.pop(), len(names), len(_PARTS)), kind)
        for i, name in enumerate(names):
            for j, part in enumerate(_PARTS):
                values[:, i, j] = own[f"{name}_{part}"]
        return cls(names, values, {name: column for name, column in columns.items() if name not in own})

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the columns of the table: x, y and likelihood of every keypoint, each followed by its further ones."""
        further = dict(self.further)
        out: dict[str, NDArray[np.generic]] = {}
        for i, name in enumerate(self.names):
            out |= {f"{name}_{part}": self.values[:, i, j] for j, part in enumerate(_PARTS)}
            out |= {key: further.pop(key) for key in list(further) if key.startswith((f"{name}_x_", f"{name}_y_"))}
        return out | further

    def has(self, *names: str) -> bool:
        """Return whether all of some keypoints are there."""
        return set(names) <= set(self.names)

    def of(self, name: str) -> Floats:
        """Return x and y of a keypoint. (frame, 2)

        Raises
        ------
        MissingKeypoints
            If it is not there.
        """
        return self.values[:, self._place(name), :2]

    def likelihood(self, name: str) -> Floats:
        """Return the likelihood of a keypoint. (frame,)"""
        return self.values[:, self._place(name), _LIKELIHOOD]

    def _place(self, name: str) -> int:
        require_keypoints(self, (name,))
        return self.names.index(name)

    def likely(self, least: float = LIKELY) -> Keypoints:
        """Return a copy in which x and y are NaN wherever the likelihood is below a limit, or not known."""
        values = self.values.copy()
        values[~(values[:, :, _LIKELIHOOD] >= least), :2] = np.nan
        return replace(self, values=values)


def require_keypoints(keypoints: Keypoints, names: Sequence[str], purpose: str = "") -> None:
    """Require that all of some keypoints are in a table.

    Parameters
    ----------
    keypoints : Keypoints
        The table.
    names : sequence of str
        Names of keypoints.
    purpose : str
        The result that needs them, for the message.

    Raises
    ------
    MissingKeypoints
        If one is not there; the message names all that are missing.
    """
    missing = [name for name in names if name not in keypoints.names]
    if missing:
        raise MissingKeypoints(
            f"keypoints are missing{' for ' + purpose if purpose else ''}",
            expected=", ".join(names),
            got=", ".join(keypoints.names),
            do=f"use a network that tracks {', '.join(missing)}",
        )


def require_times(keypoints: Keypoints, times_s: NDArray[np.float64]) -> None:
    """Require one time per row of keypoints.

    Raises
    ------
    UnequalLengths
        If there are more or fewer: it is not known which row belongs to which time.
    """
    if len(times_s) != len(keypoints):
        raise UnequalLengths(
            "keypoints and frame times differ in number",
            expected=f"one time for each of {len(keypoints):,} rows",
            got=f"{len(times_s):,} times",
            do="make both anew from the same video: frame times first, then keypoints",
        )
