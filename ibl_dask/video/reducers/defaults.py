"""Fingerprint, accumulator arrays and joiner that most reducers share."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ibl_dask.model.step import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.reducers.protocol import Joiner, Values, Variable


class DefaultReducer:
    """Base of the reducers, which are dataclasses: fingerprint of all parameters, chunks joined end to end."""

    version: ClassVar[int] = 1
    """Version of the code; raised whenever values change."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        raise NotImplementedError

    def fingerprint(self) -> str:
        # Fingerprints are kept with results, so the names of classes and of their fields are part of the file format.
        parameters = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]  # every reducer is a dataclass
        return fingerprint(type(self).__name__, self.version, **parameters)

    def join(self) -> Joiner:
        return Concatenation(self.variables)


class Concatenation:
    """Joiner of reducers whose values depend on frames of one chunk alone."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._parts: dict[str, list[Values]] = {variable.name: [] for variable in variables}

    def add(self, chunk: Chunk, arrays: Mapping[str, Values]) -> None:
        for name, parts in self._parts.items():
            parts.append(arrays[name])

    def arrays(self) -> dict[str, Values]:
        return {name: np.concatenate(parts) for name, parts in self._parts.items()}


class WantedFrames:
    """Arrays of an accumulator, one row per wanted frame: NaN, or zero for integers, until a value is set."""

    def __init__(self, wanted: NDArray[np.int64], variables: Sequence[Variable]) -> None:
        self.first = int(wanted[0]) if len(wanted) else 0
        self._arrays = {v.name: _unset(len(wanted), v) for v in variables}

    def arrays(self) -> dict[str, Values]:
        return self._arrays


def _unset(n: int, variable: Variable) -> Values:
    fill = np.nan if np.dtype(variable.dtype).kind == "f" else 0
    return np.full((n, *variable.shape), fill, variable.dtype)


def frames_in_chunk(frames: tuple[int, ...], chunk: Chunk) -> NDArray[np.int64]:
    """Return the frames that lie within a chunk, increasing, each once. (n,)"""
    unique = np.unique(np.array(frames, np.int64))
    return unique[(unique >= chunk.start) & (unique < chunk.stop)]
