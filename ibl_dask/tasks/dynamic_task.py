"""Tasks that read the experiment description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ibl_dask.model.places import require_inside
from ibl_dask.model.session import Session
from ibl_dask.tasks.described import DescriptionReader
from ibl_dask.tasks.task import Task


class DynamicTask(DescriptionReader, Task):
    """A task that reads from the experiment description, on demand, each argument that is not given.

    Parameters
    ----------
    sync, sync_collection, sync_ext, sync_namespace : str, optional
        Main clock; by default that of the description.
    kwargs
        See `Task`.
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
        if sync_collection is not None:
            sync_collection = require_inside(sync_collection, "sync_collection", where=self.session.path)
        if sync_namespace is not None:
            require_inside(sync_namespace, "sync_namespace", where=self.session.path, is_name=True)
        given = {
            "sync": sync,
            "sync_collection": sync_collection,
            "sync_ext": sync_ext,
            "sync_namespace": sync_namespace,
        }
        self.__dict__.update({name: value for name, value in given.items() if value})

    def arguments(self) -> dict[str, object]:
        return {
            **super().arguments(),
            "sync": self.sync,
            "sync_collection": self.sync_collection,
            "sync_ext": self.sync_ext,
            "sync_namespace": self.sync_namespace,
        }
