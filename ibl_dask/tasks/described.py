"""Access of tasks to the experiment description under the field's names, read at first use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ibl_dask.errors import DescriptionError
from ibl_dask.model.description_reader import read_content
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.session import Session, find_description


class DescriptionReader:
    """Values from the description of a task's session; a value that is set on the task takes precedence."""

    session: Session
    """The session."""

    @cached_property
    def session_params(self) -> dict[str, Any]:
        """Return the content of the description's file."""
        return self.read_params_file()

    @cached_property
    def sync(self) -> str | None:
        """Return the kind of the main clock."""
        return self.get_sync()

    @cached_property
    def sync_collection(self) -> str | None:
        """Return the folder of its files."""
        return self.get_sync_collection()

    @cached_property
    def sync_ext(self) -> str | None:
        """Return the extension of its recording."""
        return self.get_sync_extension()

    @cached_property
    def sync_namespace(self) -> str | None:
        """Return the namespace of its files."""
        return self.get_sync_namespace()

    def read_params_file(self) -> dict[str, Any]:
        """Return the content of the description's file; empty if there is none."""
        for root in self.session.roots:
            found = find_description(root)
            if found is not None:
                return read_content(found)
        return {}

    def get_sync(self, sync: str | None = None) -> str | None:
        """Return the kind of the main clock: the given one, else that of the description."""
        described = None if sync else self.session.description.sync
        return described.kind if described else sync or None

    def get_sync_collection(self, sync_collection: str | None = None) -> str | None:
        """Return the folder of the main clock: the given one, else that of the description."""
        described = None if sync_collection else self.session.description.sync
        return described.collection if described else sync_collection or None

    def get_sync_extension(self, sync_ext: str | None = None) -> str | None:
        """Return the extension of the main clock's recording: the given one, else that of the description."""
        described = None if sync_ext else self.session.description.sync
        return described.extension if described else sync_ext or None

    def get_sync_namespace(self, sync_namespace: str | None = None) -> str | None:
        """Return the namespace of the main clock's files: the given one, else that of the description."""
        described = None if sync_namespace else self.session.description.sync
        return described.software if described else sync_namespace or None

    def get_task_collection(self, collection: str | None = None) -> str | None:
        """Return the folder of a protocol: the given one, else that of the only protocol of the session.

        Raises
        ------
        DescriptionError
            If the session ran several.
        """
        return collection or self._only({p.collection for p in self.session.description.protocols}, "collection")

    def get_protocol(self, protocol: str | None = None, task_collection: str | None = None) -> str | None:
        """Return the name of a protocol: the given one, else that of the protocol in a folder, else of the only one.

        Raises
        ------
        DescriptionError
            If the session ran several.
        """
        protocols = self.session.description.protocols if not protocol else ()
        return protocol or self._only(
            {p.name for p in protocols if task_collection in (None, p.collection)}, "task_collection"
        )

    def get_device_collection(self, device: str, device_collection: str | None = None) -> str | None:
        """Return the folder of a device: the given one, else that of the description, the first of several."""
        if device_collection:
            return device_collection
        described = self.session.description
        if device == "cameras":
            return next((camera.collection for camera in described.cameras), None)
        content = described.devices.get(device)
        found = [part.get("collection") for part in _parts(content)]
        return next((str(collection) for collection in found if collection), None)

    def _only(self, found: set[str | None], argument: str) -> str | None:
        names = sorted(name for name in found if name)
        if len(names) > 1:
            raise DescriptionError(
                f"{type(self).__name__} cannot tell which protocol is meant",
                where=str(self.session.path),
                expected="one protocol",
                got=", ".join(f"{p.name} in {p.collection}" for p in self.session.description.protocols),
                do=f"say which: {argument}=...",
            )
        return names[0] if names else None


def _parts(content: object) -> list[JsonObject]:
    """Return the parts of a device in the description: one, or one under each name."""
    if not isinstance(content, Mapping):
        return []
    parts = [part for part in content.values() if isinstance(part, Mapping)]
    return [content] if "collection" in content else parts
