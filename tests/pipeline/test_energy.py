"""Energy of a run, from counters of processors and GPUs.

Those of processors are a folder laid out as Linux does; that of a GPU is a stand-in for NVIDIA's library.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simple_steps import Calling

from ibl_dask.model import events, gpu_energy
from ibl_dask.model.session import Session
from ibl_dask.model.step import Resources, StepRecord
from ibl_dask.pipeline.cohort import cohort_content
from ibl_dask.pipeline.energy import EnergyMeter
from ibl_dask.pipeline.run import run
from ibl_dask.store.run_folder import find_runs
from ibl_dask.store.run_record import RunRecord
from ibl_dask.store.workspace import default_work_dir
from ibl_dask.synth.session import write_session
from ibl_dask.tasks.run_step import run_step

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


class FakeManagementLibrary:
    """What NVIDIA's management library answers for one GPU, whose counter rises by 9 MJ with each reading."""

    def __init__(self, n_failures: int = 0) -> None:
        self.energy_mj, self.n_failures = 5_000_000_000, n_failures

    def nvmlDeviceGetHandleByUUID(self, name: bytes, device: object) -> int:  # noqa: N802
        return 0 if name == b"GPU-1a2b" else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, device: object, energy_mj: Any) -> int:  # noqa: N802
        self.n_failures -= 1
        self.energy_mj += 9_000_000_000
        energy_mj._obj.value = self.energy_mj
        return 3 if self.n_failures >= 0 else 0


def held(folder: Path) -> StepRecord:
    return run_step(
        Calling(called="infer", session="s", function=lambda upstream: {}, resources=Resources(gpu=1)), [], folder
    )


@pytest.mark.parametrize("name", ["", "0", "MIG-5c", "GPU-other"])
def test_a_step_whose_gpu_cannot_be_told_from_others_has_no_energy(tmp_path, monkeypatch, name) -> None:
    monkeypatch.setattr(gpu_energy, "_library", FakeManagementLibrary)
    monkeypatch.setenv(gpu_energy.GPU_VARIABLE, name)
    record = held(tmp_path)
    assert (record.status, record.gpus, record.gpu_j) == ("done", 1, None)


def test_a_machine_without_the_library_of_the_driver_has_no_energy_of_a_gpu(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gpu_energy, "_LIBRARY", "libnvidia-ml-that-nobody-has.so.1")
    monkeypatch.setenv(gpu_energy.GPU_VARIABLE, "GPU-1a2b")
    assert held(tmp_path).gpu_j is None


@pytest.mark.parametrize("n_failures", [1, 2])
def test_a_counter_that_fails_costs_no_step(tmp_path, monkeypatch, n_failures) -> None:
    library = FakeManagementLibrary(n_failures)
    monkeypatch.setattr(gpu_energy, "_library", lambda: library)
    monkeypatch.setenv(gpu_energy.GPU_VARIABLE, "GPU-1a2b")
    record = held(tmp_path)
    assert (record.status, record.gpu_j) == ("done", None)


def test_gpu_hours_and_energy_of_steps_on_gpus_are_in_the_report_of_a_run(tmp_path, monkeypatch) -> None:
    library = FakeManagementLibrary()
    monkeypatch.setattr(gpu_energy, "_library", lambda: library)
    monkeypatch.setenv(gpu_energy.GPU_VARIABLE, "GPU-1a2b")
    record = held(tmp_path)
    assert record.gpu_j == 9_000_000
    assert StepRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    session = "/data/Subjects/SW_001/2023-05-01/001"
    on_gpu, on_cpu = replace(record, seconds=1800.0), replace(record, seconds=600.0, gpus=0, gpu_j=None)
    with RunRecord(tmp_path, "r") as journal:
        journal.append(events.to_json(events.RunStarted("r", (session,), "h", 1, 2, "1.0", 5.0, "", "", {})))
        for each in (on_gpu, on_gpu, on_cpu):
            journal.append(events.to_json(events.StepFinished(session, each)))
    facts = dict(cohort_content(journal.run).facts)
    assert (facts["GPU-hours"], facts["energy of GPUs in steps"]) == ("1.00", "5 kWh")
    assert facts["core-hours"] == "1.17"
