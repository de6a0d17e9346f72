"""Base classes for tasks of labs: behaviour, devices, and raw files that need a name and a list."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ibl_dask.errors import MissingFile, UsageError
from ibl_dask.model.places import below, require_inside
from ibl_dask.model.session import Session
from ibl_dask.store.atomic import is_one_file, move, write_text
from ibl_dask.store.dataset_lookup import find_files
from ibl_dask.tasks.dynamic_task import DynamicTask
from ibl_dask.tasks.run_method import made_inside
from ibl_dask.tasks.session_snapshots import SNAPSHOT_FOLDER, collection_folders, images_in, relative

_log = logging.getLogger(__name__)


class BehaviourTask(DynamicTask):
    """A task on the files of one protocol of a session.

    Parameters
    ----------
    collection : str, optional
        Folder of the protocol's raw files; by default that of the only protocol of the session.
    protocol : str, optional
        Its name; by default that of the protocol in that folder.
    protocol_number : int, optional
        Its place in the session, from 0; by default that of the description. With a number, results go to
        `alf/task_NN`.
    kwargs
        See `DynamicTask`.
    """

    extractor: Any = None
    """Extractor of the trials, for `run_qc`; a subclass sets it."""

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
        if collection is not None:
            collection = require_inside(collection, "collection", where=self.session.path)
        self._asked = (collection, protocol)
        if protocol_number is not None:
            self.protocol_number = int(protocol_number)

    @cached_property
    def _meant(self) -> tuple[str | None, str | None]:
        """Return folder and name of the protocol.

        Raises
        ------
        DescriptionError
            If neither is given and the session ran several protocols.
        """
        collection, protocol = self._asked
        if collection is None and protocol is not None:
            named = {p.collection for p in self.session.description.protocols if p.name == protocol}
            return self._only(named, "collection"), protocol
        folder = self.get_task_collection(collection)
        return folder, self.get_protocol(protocol, folder)

    @cached_property
    def collection(self) -> str | None:
        """Return the folder of the protocol's raw files."""
        return self._meant[0]

    @cached_property
    def protocol(self) -> str | None:
        """Return the name of the protocol."""
        return self._meant[1]

    @cached_property
    def protocol_number(self) -> int | None:
        """Return the place of the protocol in the session; None if it has no number."""
        return self.get_protocol_number(task_protocol=self.protocol)

    @cached_property
    def output_collection(self) -> str:
        """Return the folder of the results."""
        return "alf" if self.protocol_number is None else f"alf/task_{self.protocol_number:02}"

    def get_protocol_number(self, number: int | str | None = None, task_protocol: str | None = None) -> int | None:
        """Return the place of a protocol: the given one, else that of the description."""
        if number is not None:
            return int(number)
        found = [
            p.number
            for p in self.session.description.protocols
            if p.is_numbered and task_protocol in (None, p.name) and self._asked[0] in (None, p.collection)
        ]
        return found[0] if len(found) == 1 else None

    def extract_behaviour(self, save: bool = True) -> tuple[Any, list[Path] | None]:
        """Return trials and their files; none, unless a subclass has an extractor."""
        return None, None

    def run_qc(self, trials_data: Any = None, update: bool = True) -> Any:
        """Return the checks of the protocol; none, unless a subclass has some.

        Raises
        ------
        MissingFile
            If there are no trials.
        """
        self._assert_trials_data(trials_data)
        return None

    def _assert_trials_data(self, trials_data: Any = None) -> Any:
        """Return the given trials, else the extracted ones; subclasses of the field call it by this name."""
        if self.extractor is None or trials_data is None:
            trials_data, _ = self.extract_behaviour(save=False)
        if not (trials_data and self.extractor):
            raise MissingFile(
                f"{self.name} has no trials to check",
                where=str(self.session.path),
                expected="trials, and the extractor that read them",
                got="neither" if not trials_data else "no extractor",
                do="have `extract_behaviour` return the trials and set `self.extractor`",
            )
        return trials_data

    def arguments(self) -> dict[str, object]:
        number = {} if self.protocol_number is None else {"protocol_number": self.protocol_number}
        return {**super().arguments(), "collection": self.collection, "protocol": self.protocol, **number}


class _DeviceTask(DynamicTask):
    """A task on the files of one device."""

    usual_collection = ""
    """Default folder of the device's files."""

    def __init__(
        self,
        session_path: str | Path | Session,
        *,
        device_collection: str | None = None,
        **kwargs: Any,  # see DynamicTask
    ) -> None:
        super().__init__(session_path, **kwargs)
        self.device_collection = device_collection or self.usual_collection

    def arguments(self) -> dict[str, object]:
        return {**super().arguments(), "device_collection": self.device_collection}


class AudioTask(_DeviceTask):
    """A task on the files of the microphone.

    Parameters
    ----------
    device_collection : str, optional
        Folder of its files, `raw_behavior_data`.
    kwargs
        See `DynamicTask`.
    """

    usual_collection = "raw_behavior_data"


class WidefieldTask(_DeviceTask):
    """A task on the files of the widefield microscope.

    Parameters
    ----------
    device_collection : str, optional
        Folder of its files, `raw_widefield_data`.
    kwargs
        See `DynamicTask`.
    """

    usual_collection = "raw_widefield_data"


class EphysTask(_DeviceTask):
    """A task on the files of a probe.

    Parameters
    ----------
    pname : str, optional
        Name of the probe, such as `probe00`.
    nshanks : int, optional
        Shanks of the probe, if each is a probe of its own.
    kwargs
        `device_collection`, the folder of its files (`raw_ephys_data`); see `DynamicTask` for the others.
    """

    usual_collection = "raw_ephys_data"

    def __init__(
        self,
        session_path: str | Path | Session,
        *,
        pname: str | None = None,
        nshanks: int | None = None,
        **kwargs: Any,  # see DynamicTask
    ) -> None:
        super().__init__(session_path, **kwargs)
        self._pname = pname
        self._nshanks = nshanks
        self.pname = self.get_pname(None)
        self.nshanks, self.pextra = self.get_nshanks()

    def get_pname(self, pname: str | None) -> str | None:
        """Return the name of the probe: that of the task, else the given one."""
        return self._pname if self._pname is not None else pname

    def get_nshanks(self, nshanks: int | None = None) -> tuple[int | None, list[str]]:
        """Return the number of shanks, that of the task or the given one, and their letters."""
        n = self._nshanks if self._nshanks is not None else nshanks
        return n, [] if n is None else [chr(ord("a") + shank) for shank in range(n)]

    def arguments(self) -> dict[str, object]:
        named = {"pname": self.pname, "nshanks": self.nshanks}
        return {**super().arguments(), **{name: value for name, value in named.items() if value is not None}}


class RegisterRawDataTask(DynamicTask):
    """Give raw files the names of all others, and list them.

    The n-th input becomes the n-th output. Without inputs, the outputs are the existing files.

    Parameters
    ----------
    kwargs
        See `DynamicTask`.
    """

    priority = 100
    ram = 0.5
    _listed: Sequence[dict[str, object]] = ()

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

    def upload_images(self, images: Path | list[Path], unlink: bool = False) -> list[dict[str, object]]:
        """List images of the session, which become notes on it in Alyx together with the results of this task.

        Parameters
        ----------
        images : path or list of path
            A folder of images, or images.
        unlink : bool
            Kept for the calling convention: the images stay, since they are sent later.

        Returns
        -------
        list of dict
            Entries of the list: path below the session, text, size.

        Raises
        ------
        OutsideSession
            If an image is not of this session.
        """
        named = [images] if isinstance(images, (str, Path)) else list(images)
        found: list[dict[str, object]] = []
        for path in made_inside(self.workspace, named, self.name):
            folder = path if path.is_dir() else path.parent
            entries = images_in(self.workspace, folder, [])
            found += [entry for entry in entries if path.is_dir() or entry["path"] == relative(self.workspace, path)]
        self._listed = [*self._listed, *(entry for entry in found if entry not in self._listed)]
        write_text(self.workspace.snapshots_file(self.name), json.dumps({"snapshots": self._listed}, indent=1) + "\n")
        _log.info("%d images are listed as notes", len(found))
        return found

    def register_snapshots(
        self, unlink: bool = False, collection: str | list[str] | None = None
    ) -> list[dict[str, object]]:
        """List the snapshots of collections; see `upload_images`.

        Parameters
        ----------
        unlink : bool
            See `upload_images`.
        collection : str or list of str, optional
            Folders that hold one of snapshots, relative to the session, patterns allowed; by default that of the
            device, else the session itself.
        """
        wanted = getattr(self, "device_collection", None) if collection is None else collection
        names = [wanted or ""] if wanted is None or isinstance(wanted, str) else list(wanted)
        folders = [folder for name in names for folder in collection_folders(self.workspace, name)]
        return [entry for folder in folders for entry in self.upload_images(folder / SNAPSHOT_FOLDER, unlink)]

    def setUp(self, **kwargs: Any) -> bool:  # the field's name; arguments are those of `run`
        """Forget the snapshots of an earlier run."""
        self._listed = []
        self.workspace.snapshots_file(self.name).unlink(missing_ok=True)
        return super().setUp(**kwargs)

    def _rename(self, path: Path, target: Path, symlink_old: bool) -> None:
        if target.exists() and path.samefile(target) and not is_one_file(path, target):
            return  # a link that an earlier run left under the old name, say
        for folder in (path.parent, target.parent):
            self.workspace.require_own(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        _log.info("%s -> %s", path.name, target.name)
        try:
            move(path, target)
        except FileExistsError:
            self._refuse(f"{path} and {target}, which is there already")
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

    def assert_expected_inputs(
        self, raise_error: bool = True, raise_ambiguous: bool = False
    ) -> tuple[bool, list[Path]]:
        """Search the declared inputs; none is required: they may have their new names already (`rename_files`)."""
        return super().assert_expected_inputs(raise_error=False)
