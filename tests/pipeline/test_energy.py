"""Energy of a run, read from the counters of the processors; those here are a folder laid out as Linux does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.model.session import Session
from ibl_dask.pipeline.cohort import cohort_content
from ibl_dask.pipeline.energy import EnergyMeter
from ibl_dask.pipeline.run import run
from ibl_dask.store.run_folder import find_runs
from ibl_dask.store.workspace import default_work_dir
from ibl_dask.synth.session import write_session

RANGE_UJ = 262_143_328_850
"""Largest value of the counter of a common server."""


def write_zone(powercap: Path, zone: str, name: str, energy_uj: int) -> Path:
    folder = powercap / zone
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in (("name", name), ("energy_uj", energy_uj), ("max_energy_range_uj", RANGE_UJ)):
        (folder / file).write_text(f"{content}\n")
    return folder / "energy_uj"


@given(
    steps_uj=st.lists(st.integers(0, RANGE_UJ - 1), max_size=8),
    first_uj=st.integers(0, RANGE_UJ - 1),
)
def test_packages_are_added_up_over_any_number_of_turns_of_their_counters(
    steps_uj: list[int], first_uj: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    powercap = tmp_path_factory.mktemp("powercap")
    counters = [write_zone(powercap, f"intel-rapl:{n}", f"package-{n}", first_uj) for n in (0, 1)]
    write_zone(powercap, "intel-rapl:2", "psys", 7)
    part = write_zone(powercap, "intel-rapl:0:0", "core", 7)
    meter = EnergyMeter(powercap)
    now = first_uj
    for step in steps_uj:
        now = (now + step) % RANGE_UJ
        for counter in counters:
            counter.write_text(f"{now}\n")
        part.write_text(f"{step}\n")
        meter.read_j()
    assert meter.read_j() == pytest.approx(2 * sum(steps_uj) / 1e6)


def test_without_a_readable_counter_there_is_no_energy(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path / "nothing").read_j() is None
    write_zone(tmp_path, "intel-rapl:0", "package-0", 5).write_text("denied\n")
    assert EnergyMeter(tmp_path).read_j() is None


def test_a_counter_that_ends_meanwhile_keeps_what_it_gave(tmp_path: Path) -> None:
    counter = write_zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    meter = EnergyMeter(tmp_path)
    counter.write_text("4000000\n")
    assert meter.read_j() == 3.0
    counter.unlink()
    assert meter.read_j() == 3.0


def test_the_report_of_a_run_names_the_energy_and_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = write_zone(tmp_path / "powercap", "intel-rapl:0", "package-0", 0)
    monkeypatch.setattr(EnergyMeter.__init__, "__defaults__", (tmp_path / "powercap",))
    session = tmp_path / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_session(session, duration_s=1, cameras=("left",), scale=0.125)
    run([session], tasks=["VideoRegisterRaw"], listeners=[lambda event: counter.write_text("36000000000\n")])
    (found,) = find_runs(default_work_dir(Session(session)))
    facts = dict(cohort_content(found).facts)
    (name,) = (name for name in facts if name.startswith("energy of the processors of "))
    assert facts[name] == "0.01 kWh"
