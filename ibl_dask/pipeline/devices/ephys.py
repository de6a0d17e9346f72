"""Tasks of Neuropixels probes, by the kind of probe in the header of its recording."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.model.description import ExperimentDescription, Problem
from ibl_dask.model.places import below
from ibl_dask.model.task import TaskSpec
from ibl_dask.model.text import read_text
from ibl_dask.pipeline.devices.sync import Clock
from ibl_dask.tasks.catalogue import field_task

_COLLECTION = "raw_ephys_data"
_KINDS = {
    0: "NP1",
    21: "NP2.1",
    2003: "NP2.1",
    24: "NP2.4",
    2013: "NP2.4",
    1100: "NPultra",
    2020: "NP2QB",
    1030: "NHPlong",
}
"""`imDatPrb_type` -> kind of probe."""
_SITE = re.compile(r"\((\d+):\d+:\d+:\d+\)")


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe, as the header of its recording describes it."""

    name: str
    """Name in the description."""
    kind: str
    """3A, NP1, NP2.1, NP2.4, NP2QB, ..., or unknown."""
    n_shanks: int
    """Shanks that were recorded from."""

    @property
    def is_split(self) -> bool:
        """Return whether its shanks become recordings of their own."""
        return self.kind in ("NP2.4", "NP2QB") and self.n_shanks > 1

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names under which it is sorted: one per shank if it is split."""
        return tuple(f"{self.name}{chr(97 + i)}" for i in range(self.n_shanks)) if self.is_split else (self.name,)


def read_probe(name: str, header: Path) -> Probe:
    """Read the kind of a probe from the header that SpikeGLX wrote.

    Raises
    ------
    OSError, UnicodeDecodeError
        If the file cannot be read.
    """
    lines = (line.partition("=") for line in read_text(header).splitlines())
    header_values = {key.replace("~", ""): value for key, _, value in lines}
    number = header_values.get("imDatPrb_type", "")
    kind = "3A" if "typeEnabled" in header_values else _KINDS.get(int(number) if number.isdigit() else -1, "unknown")
    sites = _SITE.findall(header_values.get("snsShankMap") or header_values.get("snsGeomMap") or "")
    return Probe(name, kind, max(1, len(set(sites))))


def plan_ephys(description: ExperimentDescription, clock: Clock, session: Path) -> tuple[list[TaskSpec], list[Problem]]:
    """Return the tasks of the probes, and faults of their entries.

    Parameters
    ----------
    description, clock
        Description of the session, and its clock.
    session : Path
        The session folder, with the headers of recordings.
    """
    entries = description.devices.get("neuropixel")
    if entries is None:
        return [], []
    if not isinstance(entries, Mapping):
        return [], [Problem("neuropixel", f"a mapping of probes is needed, not a {type(entries).__name__}")]
    given = {"device_collection": _COLLECTION}
    specs = [field_task("EphysRegisterRaw", "EphysRegisterRaw", given)]
    problems: list[Problem] = []
    probes: list[Probe] = []
    for name, body in entries.items():
        found = _find_probe(str(name), body, session)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            probes.append(found)
    compressions = {probe.name: _compression(probe, given) for probe in probes}
    specs += compressions.values()
    if clock.kind is None and probes:
        problems.append(Problem("neuropixel", "its spikes cannot be put on a clock: none is described"))
    old = [probe for probe in probes if probe.kind == "3A"]
    shared = None
    if old and clock.kind is not None:
        arguments = {**given, **clock.arguments, "pname": [part for probe in old for part in probe.parts]}
        waits = [*(compressions[probe.name] for probe in old), clock.pulses]
        shared = field_task("EphysPulses", "EphysPulses", arguments, waits)
        specs.append(shared)
    for probe in probes:
        for part in probe.parts:
            specs += _part_specs(part, compressions[probe.name], shared if probe in old else None, given, clock)
    return specs, problems


def _find_probe(name: str, body: object, session: Path) -> Probe | Problem:
    collection = body.get("collection") if isinstance(body, Mapping) else None
    if not isinstance(collection, str):
        return Problem(f"neuropixel.{name}", "it does not say in which collection its files are")
    # Folders that end in a letter more hold the parts of one recording.
    place = below(session, collection)
    folders = sorted(path for path in place.parent.glob(f"{place.name}*") if path.is_dir())
    headers = sorted(folders[0].rglob("[!.]*.ap*.meta")) if folders else []
    if not headers:
        return Problem(f"neuropixel.{name}", f"no header *.ap.meta in {collection} says what kind of probe it is")
    try:
        return read_probe(name, headers[0])
    except (OSError, UnicodeDecodeError) as error:
        return Problem(f"neuropixel.{name}", f"{headers[0].name} cannot be read: {error}")


def _compression(probe: Probe, given: Mapping[str, str]) -> TaskSpec:
    arguments = {**given, "pname": probe.name}
    if probe.is_split:
        name = f"EphyCompressNP24_{probe.name}"
        return field_task(name, "EphysCompressNP24", {**arguments, "nshanks": probe.n_shanks})
    if probe.kind in ("NP2.1", "NP2.4", "NP2QB"):
        return field_task(f"EphyCompressNP21_{probe.name}", "EphysCompressNP21", arguments)
    return field_task(f"EphyCompressNP1_{probe.name}", "EphysCompressNP1", arguments)


def _part_specs(
    part: str, compression: TaskSpec, shared: TaskSpec | None, given: Mapping[str, str], clock: Clock
) -> list[TaskSpec]:
    """Return the tasks of one probe, or of one of its shanks."""
    arguments = {**given, "pname": part}
    check = field_task(f"RawEphysQC_{part}", "RawEphysQC", arguments, [compression])
    if clock.kind is None:
        return [check]
    own = [] if shared else [_pulses(part, compression, given, clock)]
    sorting = field_task(f"Spikesorting_{part}", "SpikeSorting", arguments, own or [shared])
    return [*own, sorting, check]


def _pulses(part: str, compression: TaskSpec, given: Mapping[str, str], clock: Clock) -> TaskSpec:
    arguments = {**given, **clock.arguments, "pname": [part]}
    return field_task(f"EphysPulses_{part}", "EphysPulses", arguments, [compression, clock.pulses])
