"""Protocol of a task that defines `_run`, as the step that calls it sees the task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ibl_dask.model.session import Session
from ibl_dask.model.signature import ExpectedDataset
from ibl_dask.model.step import Resources
from ibl_dask.store.workspace import Workspace


class MethodTask(Protocol):
    """A task; see `ibl_dask.tasks.task.Task` for its attributes."""

    session: Session
    workspace: Workspace
    given: dict[str, object]
    force: bool
    version: str
    writes_elsewhere: bool
    status: int | None
    in_method: bool

    @property
    def name(self) -> str:
        """Return the name of the class."""

    @property
    def resources(self) -> Resources:
        """Return the cores, GPUs and memory that it occupies."""

    @property
    def input_files(self) -> Sequence[ExpectedDataset]:
        """Return the declared inputs."""

    @property
    def output_files(self) -> Sequence[ExpectedDataset]:
        """Return the declared outputs."""

    def arguments(self) -> dict[str, object]:
        """Return the keyword arguments that build this task again."""

    def lacking_outputs(self) -> list[str]:
        """Return the patterns of required outputs that are missing or empty."""

    def assert_expected_inputs(self) -> tuple[bool, list[Path]]:
        """Look for the declared inputs."""

    def assert_expected_outputs(self, raise_error: bool = True) -> tuple[bool, list[Path]]:
        """Look for the declared outputs."""

    def setUp(self, **kwargs: object) -> bool:  # the field's name
        """Prepare for `_run`."""

    def tearDown(self) -> None:  # the field's name
        """Clean up after `_run`."""
