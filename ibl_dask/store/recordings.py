"""Files of SpikeGLX recordings of a NI-DAQ, grouped by recording.

The samples (`.bin`, or `.cbin` with its channel file `.ch`), the header `.meta` and the wiring of one recording have
one stem, `<stem>.nidq.<ext>`, such as `_spikeglx_ephysData_g0_t0`. Files of another stem belong to another recording,
which may have another sampling rate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ibl_dask.errors import MissingFile, UnusableFile
from ibl_dask.model.places import require_inside
from ibl_dask.store.alf import find_all, without_uuid

if TYPE_CHECKING:
    from pathlib import Path

    from ibl_dask.model.session import Session

_SAMPLES = {"bin", "cbin"}
_NAME = re.compile(r"(?P<stem>[^.].*)\.nidq\.(?P<kind>c?bin|meta|ch|wiring\.json)")


@dataclass(frozen=True, slots=True)
class Recording:
    """Files of one recording; several of a kind differ only in the UUIDs of their names."""

    stem: str
    """Common beginning of their names."""
    samples: tuple[Path, ...]
    """Samples, `.bin` or `.cbin`."""
    header: tuple[Path, ...] = ()
    """Header, `.meta`."""
    channels: tuple[Path, ...] = ()
    """Channel file of a `.cbin`, `.ch`."""
    wiring: tuple[Path, ...] = ()
    """Wiring of this recording, `.wiring.json`, if it has its own."""


def find_recordings(session: Session, collection: str, extension: str | None = None) -> list[Recording]:
    """Return the recordings in a folder, in the order of their stems.

    Parameters
    ----------
    session : Session
        The session.
    collection : str
        Folder relative to the session.
    extension : str, optional
        `bin` or `cbin`, from the description: form to use of a recording that exists in both. By default the
        compressed one, if its channel file exists.
    """
    groups: dict[str, dict[str, list[Path]]] = {}
    for path in find_all(session, collection, "*.nidq.*"):
        match = _NAME.fullmatch(without_uuid(path.name))
        if match is not None:
            files = groups.setdefault(match["stem"], {}).setdefault(match["kind"], [])
            if not files or files[0].parent == path.parent:  # files of the outputs hide the others
                files.append(path)
    return [_recording(stem, groups[stem], extension) for stem in sorted(groups) if groups[stem].keys() & _SAMPLES]


def _recording(stem: str, files: Mapping[str, Sequence[Path]], extension: str | None) -> Recording:
    is_compressed = "cbin" in files and not ("bin" in files and (extension == "bin" or "ch" not in files))
    kinds = ("cbin" if is_compressed else "bin", "meta", "ch" if is_compressed else "", "wiring.json")
    return Recording(stem, *(tuple(files.get(kind, ())) for kind in kinds))


def stem_of(name: str) -> str:
    """Return the stem of a recording from the name of one of its files, or from the stem itself.

    >>> stem_of("_spikeglx_ephysData_g0_t0.nidq.cbin")
    '_spikeglx_ephysData_g0_t0'
    """
    match = _NAME.fullmatch(without_uuid(name))
    return name.removesuffix(".nidq") if match is None else match["stem"]


def select_recording(found: Sequence[Recording], named: str | None, where: Path) -> Recording | None:
    """Return the recording that the description names, or the only one; None if there is no recording.

    Parameters
    ----------
    found : sequence of Recording
        Recordings of the folder.
    named : str or None
        Stem of the recording, or name of one of its files, from the description.
    where : Path
        The folder, for messages.

    Raises
    ------
    UnusableFile
        If there are several recordings, and none is named.
    MissingFile
        If the named recording is missing.
    """
    there = ", ".join(recording.stem for recording in found) or "no recording"
    if named is not None:
        stem = stem_of(require_inside(named, "the recording of the sync", where=where, is_name=True))
        chosen = next((recording for recording in found if recording.stem == stem), None)
        if chosen is None and found:
            raise MissingFile(
                "the recording of the sync that the description names is not there",
                where=str(where),
                expected=f"{stem}.nidq.bin or .cbin",
                got=there,
                do="name one that is there under `sync: nidq: recording:`, or copy it from the acquisition computer",
            )
        return chosen
    if len(found) > 1:
        raise UnusableFile(
            "there are several recordings of the sync",
            where=str(where),
            expected="one, or the name of the one that is meant",
            got=there,
            do=f"name it in the experiment description (`sync: nidq: recording: {found[0].stem}`), or move the others "
            "out of the folder",
        )
    return found[0] if found else None
