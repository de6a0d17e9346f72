"""Tasks of other packages, which run in an environment of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ibl_dask.model.session import Session
from ibl_dask.model.step import Resources
from ibl_dask.model.task import TaskSpec
from ibl_dask.tasks.task import Task


class ForeignTask(Task):
    """A task of another package, described by plain data.

    Parameters
    ----------
    session_path : path or Session
        The session.
    spec : TaskSpec
        What to run: dotted path, arguments and resources.
    environments : mapping, optional
        Python of each environment, by label.
    kwargs
        See `Task`.
    """

    def __init__(
        self,
        session_path: str | Path | Session,
        *,
        spec: TaskSpec,
        environments: Mapping[str, str] | None = None,
        **kwargs: Any,  # see Task
    ) -> None:
        super().__init__(session_path, **kwargs)
        self.foreign = spec
        self.environments = dict(environments or {})

    @property
    def name(self) -> str:
        return self.foreign.name

    @property
    def needed(self) -> Resources:
        """Return what it occupies."""
        return self.foreign.resources

    def arguments(self) -> dict[str, Any]:
        return dict(self.foreign.arguments)
