"""Names and folders of SpikeGLX files, as the field expects them: planned first, then moved all or not at all."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from ibl_dask.errors import AlreadyThere, UnusableFile, UsageError
from ibl_dask.store.atomic import make_folder, move
from ibl_dask.store.disk import explain_os_error
from ibl_dask.transfer.session_copies import SessionPath, source_of
from ibl_dask.transfer.session_lock import held

_RUN = re.compile(r".*(?P<run>_g\d+_t\d+)")
_PROBE = re.compile(r"_spikeglx_ephysData_g\d+_t\d+\.imec(?P<number>\d+)\..*")
_LABEL = re.compile(r"probe\d+")
_FOLDER = "raw_ephys_data"


def get_new_filename(filename: str) -> str:
    """Return the name of a SpikeGLX file in the field's convention.

    Raises
    ------
    UsageError
        If the name is none of SpikeGLX.

    >>> get_new_filename("ephysData_g0_t0.imec0.ap.bin")
    '_spikeglx_ephysData_g0_t0.imec0.ap.bin'
    """
    head, *rest = filename.split(".")
    match = _RUN.match(head)
    if match is None or len(rest) < 2:
        raise UsageError(
            "this is no name of a SpikeGLX file",
            where=filename,
            expected="a name such as ephysData_g0_t0.imec0.ap.bin",
            got="no _gN_tN" if match is None else "fewer than three parts",
            do="give the name as SpikeGLX wrote it",
        )
    return ".".join([f"_spikeglx_ephysData{match['run']}", *rest])


def rename_ephys_files(session_folder: SessionPath) -> None:
    """Rename all files of probes and NI-DAQs below a session to the field's convention.

    Parameters
    ----------
    session_folder : path or Session
        Session folder.

    Raises
    ------
    UsageError
        If a name is none of SpikeGLX.
    AlreadyThere
        If two files would get one name, or another file has it. No file has been renamed then.
    SessionLocked
        If a run holds the session.
    """
    session = source_of(session_folder)
    with held(session):
        patterns = ("*.ap.*", "*.lf.*", "*.nidq.*")
        paths = [path for pattern in patterns for path in sorted(session.rglob(pattern)) if _is_recorded(path)]
        _move_all({path: path.with_name(get_new_filename(path.name)) for path in paths if "wiring" not in path.name})


def move_ephys_files(session_folder: SessionPath, dry: bool = False) -> set[Path] | None:
    """Move renamed SpikeGLX files to `raw_ephys_data`: those of a probe to the folder of that probe.

    Parameters
    ----------
    session_folder : path or Session
        Session folder.
    dry : bool
        Move nothing, and return the folders of the probes.

    Raises
    ------
    UnusableFile
        If neither the name of a file nor its folders name a probe.
    AlreadyThere
        If another file has the name of one that is to be moved. No file has been moved then.
    SessionLocked
        If a run holds the session.
    """
    session = source_of(session_folder)
    folder = session / _FOLDER
    with contextlib.nullcontext() if dry else held(session):
        recorded = [path for path in sorted(session.rglob("*.imec*")) if _is_recorded(path)]
        targets = {path: folder / _probe_of(path, session) / path.name for path in recorded}
        if dry:
            return {target.parent for target in targets.values()}
        targets |= {path: folder / path.name for path in sorted(session.rglob("*.nidq.*")) if _is_recorded(path)}
        _move_all(targets)
        for left in {path.parent for path in targets}:
            while left not in (session, folder):
                try:
                    left.rmdir()
                except OSError:
                    break
                left = left.parent
    return None


def _is_recorded(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and not path.name.startswith(".")


def _probe_of(path: Path, session: Path) -> str:
    """Return the label of the probe of a file: by its name, else, for a single-probe system, by its folders."""
    match = _PROBE.fullmatch(path.name)
    if match is not None:
        return f"probe{match['number'].zfill(2)}"
    found = _LABEL.search(path.relative_to(session).as_posix())
    if found is None:
        raise UnusableFile(
            "this file belongs to no known probe",
            where=str(path),
            expected="a name such as _spikeglx_ephysData_g0_t0.imec0.ap.bin, or a folder such as probe00",
            got="neither",
            do="run rename_ephys_files first, or move the file to the folder of its probe",
        )
    return found.group()


def _move_all(targets: Mapping[Path, Path]) -> None:
    """Move files to new paths on the same disk; on an error those that were moved are moved back.

    Raises
    ------
    AlreadyThere
        If two have one target, or another file is there.
    """
    wanted = {path: target for path, target in targets.items() if path != target}
    taken = [target for target in wanted.values() if target.exists() or target.is_symlink()]
    if taken or len(set(targets.values())) < len(targets):
        raise AlreadyThere(
            "two files would get one name",
            where=str(taken[0] if taken else next(iter(wanted))),
            expected="a name of its own for each file",
            got=", ".join(sorted(str(path) for path, target in wanted.items() if not taken or target == taken[0])),
            do="see which of them belongs to this session, and move the other one out of it",
        )
    moved: list[tuple[Path, Path]] = []
    try:
        for path, target in wanted.items():
            make_folder(target.parent)
            move(path, target)
            moved.append((path, target))
    except BaseException as error:
        for path, target in reversed(moved):
            with contextlib.suppress(OSError):
                move(target, path)
        if isinstance(error, OSError):
            raise explain_os_error(error, target) or error from error
        raise
