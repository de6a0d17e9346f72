"""Tasks of other packages, which run in an environment of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ibl_dask.errors import MissingDatabase, MissingEnvironment, UnsafeName
from ibl_dask.model.failure import Failure
from ibl_dask.model.review import Review
from ibl_dask.model.session import Session
from ibl_dask.model.shell_names import require_shell_safe
from ibl_dask.model.step import Resources, Step, StepKey, StepRecord
from ibl_dask.model.task import TaskSpec
from ibl_dask.store.failures import failure_from
from ibl_dask.tasks.catalogue import FIELD_TASKS, environment_of, find_row
from ibl_dask.tasks.external.environments import Environments, as_environments
from ibl_dask.tasks.external.run_external import Request, RunExternal, review_external
from ibl_dask.tasks.run_method import in_place_requirement
from ibl_dask.tasks.task import Task

SETTINGS = ("force", "machine", "dlcenv", "scripts")
"""Attributes that may be set on a task after it was built, and are passed on to its process."""


class ForeignTask(Task):
    """A task of another package, described by plain data.

    It is one step: a process of the task's environment builds it and runs it, on files alone, or on the database as
    well where there is one and the task works on it. It writes into the session folder, and is refused where results go
    to an output root: run on links to the session's files, it could write through them, and a copy of a recording is
    too large to make unasked. It is refused as well where folder or arguments hold characters of a shell: tasks of the
    field put them into commands, unquoted.

    Parameters
    ----------
    session_path : path or Session
        The session.
    spec : TaskSpec
        Dotted path, arguments and resources.
    environments : Environments or mapping, optional
        Where environments are, by label; see `Environments`.
    kwargs
        See `Task`.
    """

    takes_any = True

    def __init__(
        self,
        session_path: str | Path | Session,
        *,
        spec: TaskSpec,
        environments: Environments | Mapping[str, str] | None = None,
        **kwargs: Any,  # see Task
    ) -> None:
        super().__init__(session_path, **kwargs)
        self.plain = spec
        self.environments = as_environments(environments)
        self.priority, self.level = spec.priority, spec.level
        self.cpu, self.gpu, self.ram = spec.resources.cpu, spec.resources.gpu, spec.resources.memory_gb
        self.time_out_secs = getattr(spec, "time_out_secs", self.time_out_secs)
        self.env = getattr(spec, "env", None) or environment_of(spec.executable)

    @property
    def name(self) -> str:
        return self.plain.name

    @property
    def _executable(self) -> str:
        return self.plain.executable

    @property
    def environment(self) -> str:
        """Return the label of the environment that it runs in."""
        return self.env or environment_of(self.plain.executable)

    @property
    def resources(self) -> Resources:
        return replace(super().resources, is_estimate=True)

    @property
    def needs_alyx(self) -> bool:
        """Return whether it can do nothing without the database."""
        row = FIELD_TASKS.get(self.plain.executable.rpartition(".")[2])
        return row is not None and row.needs_alyx

    @property
    def uses_alyx(self) -> bool:
        """Return whether it works on the database where there is one; of a class that is not known here, True."""
        row = find_row(self.plain.executable)
        return self.needs_alyx or row is None or row.uses_alyx

    def arguments(self) -> dict[str, object]:
        return dict(self.plain.arguments)

    def unmet_requirement(self) -> Failure | None:
        try:
            require_shell_safe(self.name, self.session.path, self.arguments())
            _, version = self.environments.serving(self.environment, self.plain.executable)
        except (UnsafeName, MissingEnvironment) as error:
            return failure_from(error)
        row = find_row(self.plain.executable)
        if row is not None and version in row.unwritten_in:
            package = self.plain.executable.split(".")[0]
            return Failure(
                "Unwritten",
                "env",
                f"{self.name} does nothing in {package} {version}: its work is not written yet.",
                where=self.plain.executable,
                do=f"nothing is amiss; a later {package} may do it",
            )
        if self.needs_alyx and self.environments.database is None:
            return failure_from(
                MissingDatabase(
                    f"{self.name} needs Alyx",
                    where=str(self.session.path),
                    expected="a database to ask or to write to",
                    got="none: tasks run on files alone",
                    do="run it with `ibl-dask alyx run`, which has one; nothing else waits for it but its children",
                )
            )
        return in_place_requirement(self)

    def review(self) -> Review:
        _, version = self.environments.serving(self.environment, self.plain.executable)
        return review_external(self.workspace, self._request(), version)

    def steps(self, records: Mapping[StepKey, StepRecord]) -> list[Step]:
        request = self._request()
        return [
            RunExternal(
                session=self.session.reference,
                resources=self.resources,
                workspace=self.workspace,
                request=request,
            )
        ]

    def _request(self) -> Request:
        return Request(
            self.name,
            self.plain.executable,
            self.arguments(),
            {name: _plain(value) for name, value in vars(self).items() if name in SETTINGS and value is not None},
            self.given,
            self.environment,
            self._place(),
            self.resources.cpu,
            self.time_out_secs,
            # The database may have changed, which no completion record can tell.
            self.force or self.workspace.overwrite or self.needs_alyx,
            self.needs_alyx,
        )

    def _place(self) -> Environments:
        """Return where its environment is, for a worker that may not have the variables of this process.

        It comes with the database for a task that works on it, and for no other.
        """
        places = self.environments.places
        with contextlib.suppress(MissingEnvironment):
            places = {self.environment: str(self.environments.python_of(self.environment))}
        return Environments(places, self.environments.database if self.uses_alyx else None)

    def spec(self, name: str | None = None, parents: Sequence[str] = ()) -> TaskSpec:
        return self.plain


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
