"""Names and folders of SpikeGLX files, and the functions that give them, beside the reference."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ibl_dask as ibd
from ibl_dask.errors import AlreadyThere

if TYPE_CHECKING:
    from reference import Reference

pytestmark = pytest.mark.peer

TEXT = (Path(__file__).parents[2] / "docs" / "differences.md").read_text(encoding="utf-8")


def session_with(root: Path, *names: str) -> Path:
    folder = root / "Subjects" / "SW_001" / "2023-05-01" / "001"
    for name in names:
        path = folder / "raw_ephys_data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def files_of(session: Path) -> dict[str, str]:
    return {str(p.relative_to(session)): p.read_text() for p in session.rglob("*") if p.is_file()}


def test_both_give_files_of_two_probes_and_a_daq_the_same_names_and_folders(
    reference: Reference, tmp_path: Path
) -> None:
    names = (
        "run_g0_imec0/run_g0_t0.imec0.ap.bin",
        "run_g0_imec0/run_g0_t0.imec0.lf.meta",
        "run_g0_imec1/run_g0_t0.imec1.ap.cbin",
        "run_g0_t0.nidq.bin",
        "run_g0_t0.nidq.wiring.json",
        "probe00/old_g1_t2.imec.ap.bin",
    )
    # The reference moves files to folders that it expects to be there.
    theirs = reference.ask("ephys_names", session=session_with(tmp_path / "theirs", *names))["files"]
    ours = session_with(tmp_path / "ours", *names)
    ibd.rename_ephys_files(ours)
    ibd.move_ephys_files(ours)
    found = files_of(ours)
    wiring = {name for name in theirs if "wiring" in name}
    assert {name: text for name, text in found.items() if name not in wiring} == {
        name: text for name, text in theirs.items() if name not in wiring
    }


def test_two_runs_of_one_gate_end_as_one_file_in_the_reference(reference: Reference, tmp_path: Path) -> None:
    names = ("a_g0_t0.imec0.ap.bin", "b_g0_t0.imec0.ap.bin")
    theirs = reference.ask("ephys_names", session=session_with(tmp_path / "theirs", *names))["files"]
    assert len(theirs) == 1, "one recording has replaced the other"
    ours = session_with(tmp_path / "ours", *names)
    with pytest.raises(AlreadyThere, match="two files would get one name"):
        ibd.rename_ephys_files(ours)
    assert len(files_of(ours)) == 2


def test_functions_of_its_miscellany_are_there_with_their_parameters_or_named(reference: Reference) -> None:
    named = set(re.findall(r"`(\w+)`", TEXT.split("## Sessions and acquisition computers")[-1].split("\n## ")[0]))
    functions = reference.ask("misc_names")["functions"]
    assert len(functions) > 5
    for name, parameters in functions.items():
        if hasattr(ibd, name):
            assert list(inspect.signature(getattr(ibd, name)).parameters) == parameters
        else:
            assert name in named
