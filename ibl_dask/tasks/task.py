"""What every task is: a signature, resources, and steps; `run()` walks the steps one after another.

Names and calling convention follow the field's pipelines, so that scripts and labs' own subclasses carry over.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ibl_dask.errors import MissingFile, UsageError
from ibl_dask.model.description import LABELS, Camera
from ibl_dask.model.session import Session
from ibl_dask.model.status import Status
from ibl_dask.model.step import Failure, Key, Resources, Step, StepRecord
from ibl_dask.model.task import Signature, TaskSpec
from ibl_dask.store import alf
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.walk import walk


class Task:
    """One unit of the field's pipelines.

    Parameters
    ----------
    session_path : path
        The session folder, or a `Session`.
    output_root, work_dir : path, optional
        Where results and scratch go; see `Session` and `Workspace`.
    overwrite : bool
        Replace published ALF files that would change, instead of making a new revision.
    kwargs
        What a subclass takes; kept in `kwargs`.
    """

    priority: ClassVar[int] = 30
    level: ClassVar[int] = 0
    resources: ClassVar[Resources] = Resources()

    def __init__(
        self,
        session_path: str | Path | Session,
        *,
        output_root: str | Path | None = None,
        work_dir: str | Path | None = None,
        overwrite: bool = False,
        **kwargs: Any,  # whatever a lab's subclass takes
    ) -> None:
        if isinstance(session_path, Session):
            self.session = session_path
        else:
            self.session = Session(Path(session_path), None if output_root is None else Path(output_root))
        folder = default_work_dir(self.session) if work_dir is None else Path(work_dir).expanduser().absolute()
        self.workspace = Workspace(self.session, folder, overwrite)
        self.kwargs = kwargs
        self.records: dict[Key, StepRecord] = {}
        self.outputs: list[Path] | None = None
        self.status: int | None = None
        self.state: Status = Status.WAITING
        self.log = ""
        self.time_elapsed_secs: float | None = None

    @property
    def name(self) -> str:
        """Return the name of the class."""
        return type(self).__name__

    @property
    def session_path(self) -> Path:
        """Return the session folder."""
        return self.session.path

    @property
    def signature(self) -> Signature:
        """Return what the task reads and promises to leave behind."""
        return Signature()

    def first_steps(self) -> list[Step]:
        """Return the steps that must run before the others can be planned."""
        return []

    def steps(self, records: Mapping[Key, StepRecord]) -> list[Step]:
        """Return the other steps.

        Parameters
        ----------
        records
            Records of the first steps.
        """
        return []

    def is_finished(self) -> bool:
        """Return whether what other tasks need of this one is there already."""
        return True

    def spec(self, name: str | None = None, parents: Sequence[str] = ()) -> TaskSpec:
        """Return this task as plain data."""
        cls = type(self)
        executable = f"{cls.__module__}.{cls.__qualname__}"
        return TaskSpec(name or self.name, executable, self.arguments(), tuple(parents), self.resources, self.priority)

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that build this task again; JSON."""
        return dict(self.kwargs)

    def run(self) -> int:
        """Run every step in this process; return the status code (0 done, -1 error)."""
        clock = time.perf_counter()
        self.workspace.check_writable()
        records = walk(self.first_steps(), self.workspace.session.outputs, self._listen)
        walk(self.steps(records), self.workspace.session.outputs, self._listen, records)
        self.time_elapsed_secs = time.perf_counter() - clock
        self.conclude()
        return self.state.code

    def conclude(self, records: Mapping[Key, StepRecord] | None = None) -> Status:
        """Say how the task went, from the records of its steps and the files that are there."""
        if records is not None:
            self.records = dict(records)
        found = self._found_outputs()
        failed = [r for r in self.records.values() if not r.is_ok]
        missing = [d.pattern for d, path in found if path is None and d.required]
        made = [Path(path) for r in self.records.values() for path in r.value.get("outputs", ())]
        self.outputs = list(dict.fromkeys([*made, *(path for _, path in found if path is not None)]))
        if failed or missing:
            self.state = Status.ERRORED
        elif any("incomplete" in r.value for r in self.records.values()):
            # Every output is there, but not all that it should hold, such as numbers of frames that do not decode.
            self.state = Status.INCOMPLETE
        elif not self.records:
            self.state = Status.EMPTY
        else:
            self.state = Status.COMPLETE
        self.status = self.state.code
        self.log = "\n".join(map(_line, self.records.values()))
        return self.state

    @property
    def failures(self) -> list[Failure]:
        """Return what went wrong, each once: errors of steps, and what their results lack."""
        found = [r.failure for r in self.records.values() if r.failure is not None]
        lacking = (r.value["incomplete"] for r in self.records.values() if "incomplete" in r.value)
        return list(dict.fromkeys([*found, *(Failure("Incomplete", "input", str(text)) for text in lacking)]))

    def assert_expected_outputs(self, raise_error: bool = True) -> tuple[bool, list[Path]]:
        """Look for the declared outputs.

        Returns
        -------
        bool, list of Path
            Whether every required one is there, and those that are.

        Raises
        ------
        MissingFile
            If one is missing and `raise_error` is set.
        """
        found = self._found_outputs()
        missing = [f"{d.collection}/{d.pattern}" for d, path in found if path is None and d.required]
        if missing and raise_error:
            raise MissingFile(
                f"{self.name} did not leave its outputs",
                where=str(self.session.outputs),
                expected=", ".join(missing),
                got="no such file",
                do="read the task's log for the step that failed",
            )
        return not missing, [path for _, path in found if path is not None]

    def _found_outputs(self) -> list[tuple[Any, Path | None]]:
        return [(dataset, alf.find_dataset(self.session, dataset)) for dataset in self.signature.outputs]

    def _listen(self, record: StepRecord) -> None:
        self.records[record.key] = record


class DynamicTask(Task):
    """A task that reads the experiment description where its arguments do not say.

    Parameters
    ----------
    sync, sync_collection, sync_ext, sync_namespace : str, optional
        Main clock; by default that of the description.
    """

    def __init__(
        self,
        session_path: str | Path | Session,
        *,
        sync: str | None = None,
        sync_collection: str | None = None,
        sync_ext: str | None = None,
        sync_namespace: str | None = None,
        **kwargs: Any,  # see Task
    ) -> None:
        super().__init__(session_path, **kwargs)
        described = self.session.description.sync
        self.sync = sync or (described.kind if described else None)
        self.sync_collection = sync_collection or (described.collection if described else None)
        self.sync_ext = sync_ext or (described.extension if described else None)
        self.sync_namespace = sync_namespace or (described.software if described else None)

    def arguments(self) -> dict[str, Any]:
        return {
            **super().arguments(),
            "sync": self.sync,
            "sync_collection": self.sync_collection,
            "sync_ext": self.sync_ext,
            "sync_namespace": self.sync_namespace,
        }


class VideoTask(DynamicTask):
    """A task on some cameras of a session.

    Parameters
    ----------
    cameras : sequence of str, optional
        Labels; by default those of the description.
    device_collection : str, optional
        Folder of the raw files; by default each camera's own in the description.
    """

    def __init__(
        self,
        session_path: str | Path | Session,
        cameras: Sequence[str] | str | None = None,
        *,
        device_collection: str | None = None,
        **kwargs: Any,  # see Task
    ) -> None:
        super().__init__(session_path, **kwargs)
        self.device_collection = device_collection
        labels = [cameras] if isinstance(cameras, str) else cameras
        if labels is None:
            labels = [camera.label for camera in self.session.description.cameras]
        self.cameras = tuple(str(label).lower() for label in labels)

    @property
    def described(self) -> tuple[Camera, ...]:
        """Return the cameras as the rig was set to record them."""
        return tuple(self._camera(label) for label in self.cameras)

    def arguments(self) -> dict[str, Any]:
        extra = {} if self.device_collection is None else {"device_collection": self.device_collection}
        return {**super().arguments(), "cameras": list(self.cameras), **extra}

    def _camera(self, label: str) -> Camera:
        from dataclasses import replace

        camera = self.session.description.camera(label)
        return camera if self.device_collection is None else replace(camera, collection=self.device_collection)

    def _insist_on_known_labels(self) -> None:
        unknown = [label for label in self.cameras if label not in LABELS]
        if unknown:
            raise UsageError(
                f"{self.name} cannot time these cameras",
                where=str(self.session.path),
                expected=", ".join(LABELS),
                got=", ".join(unknown),
                do="leave them out; they are registered all the same",
            )


def _line(record: StepRecord) -> str:
    text = f"{record.key[0]} {record.key[3]}: {record.status} in {record.seconds:.2f} s on {record.worker}"
    return text if record.failure is None else f"{text}: {record.failure.message}"
