"""A task whose steps do nothing. Scheduler and workers of Dask receive this file, so it imports the package alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import ibl_dask as ibd
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, StepKey, StepRecord, Upstream
from ibl_dask.store.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleStep(Step):
    """Step that does nothing, with fields as large as those of a step on a video."""

    workspace: Workspace

    def identity(self) -> Mapping[str, object]:
        return {}

    def run(self, upstream: Upstream) -> Result:
        return Result()


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleIndex(IdleStep):
    """Step that all others need."""

    kind: ClassVar[str] = "index"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdlePass(IdleStep):
    """Step on a chunk."""

    kind: ClassVar[str] = "framepass"

    index: StepKey


class Idle(ibd.Task):
    """Task of one step that all others need, and of many that need nothing else."""

    def __init__(self, session_path: Path, label: str = "left", n_steps: int = 100, **kwargs: object) -> None:
        super().__init__(session_path, **kwargs)
        self.label, self.n_steps = label, n_steps

    def _index(self) -> IdleIndex:
        return IdleIndex(session=self.session.reference, camera=self.label, workspace=self.workspace)

    def first_steps(self) -> list[Step]:
        return [self._index()]

    def steps(self, records: Mapping[StepKey, StepRecord]) -> list[Step]:
        make = partial(IdlePass, session=self.session.reference, camera=self.label, workspace=self.workspace)
        index = self._index().key
        return [make(index=index, chunk=chunk) for chunk in range(self.n_steps - 1)]
