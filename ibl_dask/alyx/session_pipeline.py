"""Tasks of one session in Alyx, with the calling convention of the reference's `Pipeline`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from ibl_dask.alyx.access import client_of
from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.deck import read_deck
from ibl_dask.alyx.job_creator import find_session, register_tasks
from ibl_dask.alyx.own_place import own_repository
from ibl_dask.alyx.repository import VARIABLE
from ibl_dask.alyx.row_states import RERUN, RERUN_FAILED
from ibl_dask.alyx.run_task import run_alyx_task
from ibl_dask.alyx.task_row import GRAPH, body_of
from ibl_dask.errors import InputError, UsageError
from ibl_dask.model import task as model
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.session import Session
from ibl_dask.model.status import Status
from ibl_dask.pipeline.devices.session_plan import plan_session
from ibl_dask.pipeline.plan import plan_tasks
from ibl_dask.tasks.field_spec import TaskSpec
from ibl_dask.tasks.registry import build_task
from ibl_dask.tasks.task import Task


class Pipeline:
    """Tasks of one session, and their rows in Alyx.

    Parameters
    ----------
    session_path : path, optional
        Session folder.
    one : Alyx, ONE or AlyxClient, optional
        See `client_of`; asked for when it is needed.
    eid : str, optional
        Identifier of the session in Alyx; by default it is searched for.
    tasks : mapping, optional
        Name -> task or its spec; by default those of the session's description.
    repository : str, optional
        Data repository whose server runs the tasks; by default that of `$IBL_DASK_ALYX_REPOSITORY`, else that of this
        machine's Globus identifier.
    """

    def __init__(
        self,
        session_path: str | Path | None = None,
        one: Any = None,  # ONE has no types
        eid: str | None = None,
        tasks: Mapping[str, Task | model.TaskSpec] | None = None,
        *,
        repository: str | None = None,
    ) -> None:
        if session_path is None:
            raise UsageError(
                "a pipeline needs the folder of its session",
                expected="session_path",
                got="none" if eid is None else f"the identifier {eid} alone",
                do="give the folder; `ibl-dask run` with the identifier fetches a session that is not here",
            )
        self.session = Session(Path(session_path))
        self.one = one
        self.data_repo = repository or os.environ.get(VARIABLE) or None
        self._eid = eid
        self._given = tasks

    @property
    def session_path(self) -> Path:
        """Return the session folder."""
        return self.session.path

    @property
    def name(self) -> str:
        """Return the name of the class, which is the graph of its rows."""
        return GRAPH if type(self) is Pipeline else type(self).__name__

    @property
    def label(self) -> str:
        """Return module and name of the class."""
        return f"{type(self).__module__}.{type(self).__name__}"

    @property
    def planner_errors(self) -> dict[str, str]:
        """Return device -> reason, of the parts of the description for which no tasks are planned."""
        problems = plan_session(self.session.description, self.session.path).problems
        return {problem.part: problem.message for problem in problems}

    def make_graph(self, out_dir: str | Path | None = None, show: bool = True) -> NoReturn:
        """Raise: there are no drawings of pipelines here.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(
            "pipelines are not drawn here",
            expected="a list",
            got="make_graph",
            do="ibl-dask plan SESSION shows the tasks in order; task_specs() holds their names and parents",
        )

    @cached_property
    def alyx(self) -> Alyx:
        """Return the client of the database."""
        return client_of(self.one)

    @property
    def eid(self) -> str:
        """Return the identifier of the session in Alyx.

        Raises
        ------
        InputError
            If Alyx does not have the session.
        """
        if self._eid is None:
            found = find_session(self.alyx, self.session)
            if found is None:
                raise InputError(
                    "Alyx does not have this session",
                    where=self.session.reference,
                    expected="a session of this subject, date and number",
                    got="none",
                    do="create it: ibl-dask alyx create, or local_server.job_creator",
                )
            self._eid = str(found["id"])
        return self._eid

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Return the tasks by name, parents first."""
        if self._given is not None and all(isinstance(task, Task) for task in self._given.values()):
            return dict(self._given)  # type: ignore[arg-type]  # all are tasks
        return {spec.name: build_task(spec, self.session) for spec in self.task_specs()}

    def task_specs(self, tasks_list: Iterable[object] | None = None) -> tuple[TaskSpec, ...]:
        """Return the tasks as plain data, parents first.

        Parameters
        ----------
        tasks_list : iterable of dict, TaskSpec or Task, optional
            Tasks instead of those of the pipeline; dicts name their parents.
        """
        if tasks_list is None and self._given is None:
            return tuple(map(TaskSpec.of, plan_tasks(self.session)[0]))
        given = tasks_list if tasks_list is not None else (self._given or {}).values()
        ordered = model.sort_specs(_spec(task) for task in given)
        return tuple(map(TaskSpec.of, ordered))

    def create_alyx_tasks(
        self, rerun__status__in: str | Sequence[str] | None = None, tasks_list: Iterable[object] | None = None
    ) -> list[JsonObject]:
        """Add the rows that the tasks lack, and return all rows, parents first.

        Parameters
        ----------
        rerun__status__in : str or sequence of str, optional
            Statuses of existing rows that are set back to Waiting; `__all__` for all but abandoned and started ones. A
            waiting row is left as it is: it may be claimed at this moment.
        tasks_list : iterable, optional
            See `task_specs`.
        """
        wanted = [rerun__status__in] if isinstance(rerun__status__in, str) else list(rerun__status__in or ())
        if "__all__" in wanted:
            wanted = [str(status) for status in RERUN if status is not Status.STARTED]
        statuses = [status for status in wanted if status != Status.WAITING]
        specs = self.task_specs(tasks_list)
        self.data_repo = self.data_repo or own_repository(self.alyx) or None
        rerun, graph = bool(statuses), self.name
        return register_tasks(self.alyx, self.eid, specs, self.data_repo, rerun=rerun, statuses=statuses, graph=graph)[
            0
        ]

    def create_tasks_list_from_pipeline(self) -> list[JsonObject]:
        """Return the tasks as the field writes them into `pipeline_tasks.yaml`: rows with names of parents."""
        return [
            {**body_of(spec, "", spec.parents, self.data_repo, self.name), "session": None}
            for spec in self.task_specs()
        ]

    def run(
        self,
        status__in: Sequence[str] = (Status.WAITING,),
        machine: str | None = None,
        clobber: bool = True,
        **kwargs: Any,  # arguments of `run_alyx_task`
    ) -> tuple[list[JsonObject], list[JsonObject]]:
        """Run the rows of the session that are in some statuses, one after another.

        Returns
        -------
        list of mapping, list of mapping
            Rows of the session as they are now; datasets that were registered.
        """
        deck = read_deck(self.alyx, self.eid)
        datasets: list[JsonObject] = []
        order = sorted(deck, key=lambda row: (int(row.get("level") or 0), -int(row.get("priority") or 0)))
        for row in order:
            if row.get("status") in status__in:
                common = {"job_deck": deck, "machine": machine, "clobber": clobber, **kwargs}
                datasets += run_alyx_task(row, self.session.path, self.alyx, **common)[1]
        return deck, datasets

    def rerun_failed(self, **kwargs: Any) -> tuple[list[JsonObject], list[JsonObject]]:  # arguments of `run`
        """Run the rows that wait, are held or started, failed or were empty; see `run`."""
        return self.run(status__in=RERUN_FAILED, **kwargs)

    def rerun(self, **kwargs: Any) -> tuple[list[JsonObject], list[JsonObject]]:  # arguments of `run`
        """Run all rows but abandoned ones; see `run`."""
        return self.run(status__in=RERUN, **kwargs)


def _spec(task: object) -> TaskSpec:
    if isinstance(task, model.TaskSpec):
        return TaskSpec.of(task)
    if isinstance(task, Task):
        return TaskSpec.from_task(task)
    if isinstance(task, Mapping):
        return TaskSpec.from_dict(task)
    raise UsageError(
        "this is no task", expected="a Task, a TaskSpec or a dict of one", got=type(task).__name__, do="name a task"
    )
