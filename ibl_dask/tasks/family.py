"""Tasks for labs to build on: behaviour, and raw files that only need a name and a list."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ibl_dask.errors import DescriptionError, MissingFile, UsageError
from ibl_dask.model.places import below, insist
from ibl_dask.model.session import Session
from ibl_dask.store.expected import find_files
from ibl_dask.tasks.task import DynamicTask

_log = logging.getLogger(__name__)


class BehaviourTask(DynamicTask):
    """A task on what one protocol of a session left.

    Parameters
    ----------
    collection : str, optional
        Folder of the protocol's raw files; by default that of the only protocol of the session.
    protocol : str, optional
        Its name; by default that of the protocol in that folder.
    protocol_number : int, optional
        Its place in the session, from 0, where there are several; results then go to `alf/task_NN`.
    kwargs
        See `DynamicTask`.

    Raises
    ------
    DescriptionError
        If neither collection nor protocol is given and the session ran several protocols.
    """

    def __init__(
        self,
        session_path: str | Path | Session,
        *,
        collection: str | None = None,
        protocol: str | None = None,
        protocol_number: int | str | None = None,
        **kwargs: Any,  # see DynamicTask
    ) -> None:
        super().__init__(session_path, **kwargs)
        protocols = self.session.description.protocols
        fitting = [p for p in protocols if collection in (None, p.collection) and protocol in (None, p.name)]
        if len(fitting) > 1:
            raise DescriptionError(
                f"{self.name} cannot tell which protocol is meant",
                where=str(self.session.path),
                expected="one protocol",
                got=", ".join(f"{p.name} in {p.collection}" for p in fitting),
                do="say which: collection=...",
            )
        found = fitting[0] if fitting else None
        self.collection = collection or (found.collection if found else None)
        if self.collection is not None:
            self.collection = insist(self.collection, "collection", where=self.session.path)
        self.protocol = protocol or (found.name if found else None)
        self.protocol_number = None if protocol_number is None else int(protocol_number)
        numbered = self.protocol_number is not None
        self.output_collection = f"alf/task_{self.protocol_number:02}" if numbered else "alf"

    def arguments(self) -> dict[str, Any]:
        number = {} if self.protocol_number is None else {"protocol_number": self.protocol_number}
        return {**super().arguments(), "collection": self.collection, "protocol": self.protocol, **number}


class RegisterRawDataTask(DynamicTask):
    """Give raw files the names of all others, and list them.

    The n-th input becomes the n-th output. Without inputs, the outputs are the files that there are.

    Parameters
    ----------
    kwargs
        See `DynamicTask`.
    """

    priority = 100
    ram = 0.5

    def rename_files(self, symlink_old: bool = False) -> None:
        """Give each input the name of the output in the same place of the signature.

        Parameters
        ----------
        symlink_old : bool
            Leave a link under the old name.

        Raises
        ------
        UsageError
            If there are not as many inputs as outputs.
        MissingFile
            If an input that is required is not there under either name.
        """
        inputs, outputs = self.input_files, self.output_files
        if not inputs or not outputs:
            return
        if len(inputs) != len(outputs):
            self._refuse(f"{len(inputs)} inputs and {len(outputs)} outputs")
        for before, after in zip(inputs, outputs, strict=True):
            there = find_files(self.session.roots, after)
            old = find_files(self.session.roots, before)
            if not old.files and (there.files or old.ok):
                continue
            if not old.files:
                raise MissingFile(
                    f"{self.name} lacks a file that it renames",
                    where=str(self.session.path),
                    expected=", ".join(before.patterns),
                    got="no such file, nor one of the new name",
                    do="copy it from the acquisition computer",
                )
            if len(old.files) != len(after.patterns):
                self._refuse(f"{len(old.files)} files for {', '.join(after.patterns)}")
            for path, pattern in zip(old.files, after.patterns, strict=True):
                self._rename(path, below(self.session.outputs, pattern, may_vary=True), symlink_old)

    def _rename(self, path: Path, target: Path, symlink_old: bool) -> None:
        if target.exists():
            if path.samefile(target):  # a link that an earlier run left under the old name, say
                return
            self._refuse(f"{path} and {target}, which is there already")
        for folder in (path.parent, target.parent):
            self.workspace.insist_on_own(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        _log.info("%s -> %s", path.name, target.name)
        path.replace(target)
        if symlink_old:
            path.symlink_to(target)

    def _refuse(self, got: str) -> None:
        raise UsageError(
            f"{self.name} cannot tell which file gets which name",
            where=str(self.session.path),
            expected="as many files as names",
            got=got,
            do="mend the task's signature",
        )

    def _run(self, symlink_old: bool = False, **kwargs: Any) -> list[Path]:  # what a caller passes to every task
        self.rename_files(symlink_old)
        found = [find_files(self.session.roots, expected, to_register=True) for expected in self.output_files]
        return [path for each in found for path in each.files]

    def assert_expected_inputs(self, raise_error: bool = True) -> tuple[bool, list[Path]]:
        """Look for the declared inputs, without insisting: they may have their new names already (`rename_files`)."""
        return super().assert_expected_inputs(raise_error=False)
