"""The field's own tasks of every family, run as steps of ours, beside the same classes called by hand."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import pytest
from field_sessions import write_ephys, write_habituation, write_passive, write_training, write_widefield
from needs import PEER
from reference import Reference

import ibl_dask as ibd
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.pipeline.run import run
from ibl_dask.pipeline.run_outcome import SessionOutcome
from ibl_dask.tasks.catalogue import FIELD_TASKS

if TYPE_CHECKING:
    from collections.abc import Collection

    from reference import Answer

pytestmark = pytest.mark.peer

SESSIONS = {
    "ephys": write_ephys,
    "passive": write_passive,
    "training": write_training,
    "habituation": write_habituation,
    "widefield": write_widefield,
}
KEPT_FROM_THE_DATABASE = {
    "ChoiceWorldTrialsNidq": {"update": False},
    "WidefieldPreprocess": {"upload_plots": False},
}
"""Class -> what somebody without a database tells it, so that it does not fail after its work."""
OF_ALYX = frozenset(name for name, row in FIELD_TASKS.items() if row.needs_alyx)
OF_WIDEFIELD = ("WidefieldCompress", "WidefieldPreprocess", "WidefieldSync", "WidefieldFOV")
WIDEFIELD = os.environ.get("IBL_DASK_PEER_WIDEFIELD_PYTHON")


@dataclass(frozen=True)
class Beside:
    """A session that went through ours, and its copy whose tasks were called by hand."""

    through: Path
    by_hand: Path
    outcome: SessionOutcome
    """How it went through ours."""
    told: dict[str, Answer]
    """Class -> what it said when it was called by hand."""

    @property
    def statuses(self) -> dict[str, str]:
        """Return how each task ended, by the name of its class."""
        classes = classes_of(self.through)
        return {classes[name]: str(status) for name, status in self.outcome.tasks.items()}

    def reason(self, cls: str) -> str:
        """Return why a task did not start."""
        classes = classes_of(self.through)
        (reason,) = (reason.message for name, reason in self.outcome.reasons.items() if classes[name] == cls)
        return reason

    def failure(self, cls: str) -> str:
        """Return why a task failed."""
        classes = classes_of(self.through)
        (name,) = (name for name in classes if classes[name] == cls)
        (message,) = (failure.message for failure in self.outcome.failures if failure.message.startswith(f"{name} "))
        return message


def classes_of(folder: Path) -> dict[str, str]:
    """Return the classes of the tasks of a session by the names of these."""
    return {spec.name: spec.executable.rsplit(".", 1)[-1] for spec in ibd.make_pipeline(folder).specs}


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a session but those of ours."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != "ibl_dask"
    }


# -- both ways ---------------------------------------------------------------------------------------------------------


def environment(folder: Path, python: str) -> Path:
    """Make an environment of a python and, beside it, the programs that tasks call."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (programs / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    # What labcams writes videos with takes the folder of this program for that of ffmpeg. It is not called.
    for name, line in (("python", f'exec "{python}" "$@"'), ("ffprobe", "exit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    return folder


def call_by_hand(reference: Reference, folder: Path, programs: Path, without: Collection[str]) -> dict[str, Answer]:
    """Call the classes of a session one after the other, as somebody without a database does."""
    told = {}
    for spec in ibd.make_pipeline(folder).specs:
        cls = spec.executable.rsplit(".", 1)[-1]
        if cls not in without:
            told[cls] = reference.ask(
                "run_task",
                executable=spec.executable,
                session=str(folder),
                arguments=dict(spec.arguments),
                given=KEPT_FROM_THE_DATABASE.get(cls, {}),
                path=str(programs),
            )
    return told


@pytest.fixture(scope="module")
def sessions(
    reference: Reference,
    data_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Beside]:
    """Return all sessions, run by one call of ours and by hand."""
    root = tmp_path_factory.mktemp("field")
    place = environment(root / "env", PEER)
    folders = {name: Path("Subjects") / "SW_001" / "2023-05-01" / f"{n:03}" for n, name in enumerate(SESSIONS, 1)}
    through, by_hand = ({name: root / way / path for name, path in folders.items()} for way in ("through", "by_hand"))
    told = {}
    for name, write in SESSIONS.items():
        through[name].mkdir(parents=True)
        write(through[name], data_folder)
        for samples in through[name].rglob("samples.npz"):
            write_tdms(reference, samples)
        shutil.copytree(through[name], by_hand[name])
        told[name] = call_by_hand(reference, by_hand[name], place / "bin", {*OF_ALYX, "SpikeSorting", *OF_WIDEFIELD})
    with connect(this_machine(2, dashboard_port=0)) as client:
        result = run(list(through.values()), environments=ibd.Environments({"ibllib": str(place)}), client=client)
    return {
        name: Beside(through[name], by_hand[name], outcome, told[name])
        for name, outcome in zip(SESSIONS, result.sessions, strict=True)
    }


def write_tdms(reference: Reference, samples: Path) -> None:
    """Let the reference's library write what a DAQ sampled."""
    with np.load(samples) as found:
        written = reference.ask(
            "write_tdms", path=str(samples.with_name("_mcc_DAQdata.raw.tdms")), rate=10_000, **found
        )
    assert written.error is None, written.error
    samples.unlink()


# -- what came of it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SESSIONS)
def test_the_files_are_those_of_the_classes_called_by_hand(sessions: dict[str, Beside], name: str) -> None:
    """Every file of the session, byte for byte, whichever task made, renamed, compressed or left it."""
    both = sessions[name]
    assert contents(both.through) == contents(both.by_hand)


@pytest.mark.parametrize(
    ("name", "complete", "made"),
    [
        (
            "ephys",
            {"EphysSyncRegisterRaw", "EphysSyncPulses"},
            {"_spikeglx_ephysData_g0_t0.nidq.cbin", "_spikeglx_ephysData_g0_t0.nidq.ch", "_spikeglx_sync.times.npy"},
        ),
        ("ephys", {"AudioCompress"}, {"_iblrig_micData.raw.flac"}),
        (
            "ephys",
            {"EphysCompressNP1", "EphysPulses"},
            {
                "_spikeglx_ephysData_g0_t0.imec0.ap.cbin",
                "_spikeglx_ephysData_g0_t0.imec0.lf.cbin",
                "_spikeglx_sync.times.probe00.npy",
                "_spikeglx_ephysData_g0_t0.imec0.sync.npy",
                "_spikeglx_ephysData_g0_t0.imec0.timestamps.npy",
            },
        ),
        (
            "ephys",
            {"TrialRegisterRaw", "ChoiceWorldTrialsNidq"},
            {"_ibl_trials.table.pqt", "_ibl_wheel.position.npy"},
        ),
        ("passive", {"PassiveRegisterRaw"}, {"_ibl_passivePeriods.intervalsTable.csv", "_ibl_passiveRFM.times.npy"}),
        ("training", {"AudioSync"}, {"_iblmic_audioSpectrogram.power.npy", "_iblmic_audioOnsetGoCue.times_mic.npy"}),
        ("training", {"TrialRegisterRaw", "ChoiceWorldTrialsBpod"}, {"_ibl_trials.table.pqt"}),
        ("training", {"FibrePhotometryBpodSync"}, {"photometry.signal.pqt", "photometryROI.locations.pqt"}),
        ("habituation", {"HabituationRegisterRaw", "HabituationTrialsBpod"}, {"_ibl_trials.stimOn_times.npy"}),
        ("habituation", {"FibrePhotometryDAQSync"}, {"photometry.signal.pqt", "_mcc_DAQdata.pkl"}),
        (
            "widefield",
            {"SyncMtscomp", "SyncPulses", "WidefieldRegisterRaw"},
            {"_spikeglx_DAQdata.raw.cbin", "_spikeglx_sync.times.npy", "widefieldEvents.raw.camlog"},
        ),
    ],
)
def test_each_family_runs_in_the_environment_of_the_field(
    sessions: dict[str, Beside], name: str, complete: set[str], made: set[str]
) -> None:
    both = sessions[name]
    found = {cls: status for cls, status in both.statuses.items() if cls in complete}
    assert found == dict.fromkeys(complete, "Complete"), both.outcome.failures
    for cls in complete - {"WidefieldRegisterRaw"}:
        assert both.told[cls]["status"] == 0, both.told[cls]["log"]
    assert made <= {path.name for path in both.through.rglob("*")}
    for log in (both.through / "ibl_dask" / "logs").glob("*/*.log"):
        assert "\x1b" not in log.read_text(), "colours are for terminals"


def test_what_needs_the_database_waits_for_it_and_holds_back_nothing_else(sessions: dict[str, Beside]) -> None:
    ephys = sessions["ephys"]
    waiting = {cls for cls, status in ephys.statuses.items() if status == "Waiting"}
    assert waiting == {
        "ExperimentDescriptionRegisterRaw",
        "TrainingStatus",
        "EphysRegisterRaw",
        "RawEphysQC",
        "SpikeSorting",
    }
    for cls in waiting - {"SpikeSorting"}:
        assert "needs Alyx" in ephys.reason(cls)
    assert {status for cls, status in ephys.statuses.items() if cls not in waiting} == {"Complete"}
    assert ephys.outcome.is_success


def test_spike_sorting_waits_for_its_own_environment(sessions: dict[str, Beside]) -> None:
    reason = sessions["ephys"].reason("SpikeSorting")
    assert "no environment 'iblsorter' is known" in reason
    assert "export IBL_DASK_PYTHON_IBLSORTER" in reason


def test_a_package_that_the_environment_lacks_holds_back_what_calls_it_and_its_children_alone(
    reference: Reference,
    sessions: dict[str, Beside],
) -> None:
    """By hand the class fails as if it were a fault of the session."""
    widefield = sessions["widefield"]
    for cls in ("WidefieldCompress", "WidefieldSync"):
        called = call_by_hand(
            reference, widefield.by_hand, Path("/"), set(classes_of(widefield.by_hand).values()) - {cls}
        )
        assert called[cls]["status"] == -1
        assert "NameError: name " in called[cls]["log"]
    assert {cls: widefield.statuses[cls] for cls in OF_WIDEFIELD} == {
        "WidefieldCompress": "Waiting",
        "WidefieldPreprocess": "Held",
        "WidefieldSync": "Held",
        "WidefieldFOV": "Held",
    }
    assert "the environment 'ibllib' does not hold labcams" in widefield.reason("WidefieldCompress")
    assert widefield.outcome.is_success


def test_snapshots_are_left_out_and_the_renaming_counts(sessions: dict[str, Beside]) -> None:
    """By hand the class renames its files, and then fails for want of a database."""
    widefield = sessions["widefield"]
    by_hand = widefield.told["WidefieldRegisterRaw"]
    assert by_hand["status"] == -1
    assert "AssertionError: WidefieldRegisterRaw requires an online ONE instance" in by_hand["log"]
    assert widefield.statuses["WidefieldRegisterRaw"] == "Complete"


def test_trials_on_a_nidq_are_complete_without_a_database(
    reference: Reference,
    sessions: dict[str, Beside],
) -> None:
    """By hand, and not told to keep from the database, the class writes all its files and then fails."""
    ephys = sessions["ephys"]
    (spec,) = (s for s in ibd.make_pipeline(ephys.by_hand).specs if s.executable.endswith("ChoiceWorldTrialsNidq"))
    before = contents(ephys.by_hand)
    told = reference.ask(
        "run_task", executable=spec.executable, session=str(ephys.by_hand), arguments=dict(spec.arguments)
    )
    assert told["status"] == -1
    assert "AttributeError: 'NoneType' object has no attribute 'offline'" in told["log"]
    assert contents(ephys.by_hand) == before
    assert ephys.statuses["ChoiceWorldTrialsNidq"] == "Complete"


def test_a_passive_session_without_replay_fails_in_the_field_s_class_and_so_in_ours(
    sessions: dict[str, Beside],
) -> None:
    """Two files are all that there is to extract, and the class insists on the number of its signature."""
    passive = sessions["passive"]
    by_hand = passive.told["PassiveTaskNidq"]
    assert by_hand["status"] == -1
    assert "Number of output files does not match the signature definition" in by_hand["log"]
    assert passive.statuses["PassiveTaskNidq"] == "Errored"
    message = passive.failure("PassiveTaskNidq")
    assert "the task says that it failed" in message
    assert "Number of output files does not match the signature definition" in message


def test_photometry_of_a_passive_session_cannot_be_built_by_anybody(sessions: dict[str, Beside]) -> None:
    """The class looks for its device beside the devices of the description instead of among them."""
    passive = sessions["passive"]
    cls = "FibrePhotometryPassiveChoiceWorld"
    assert passive.told[cls].error == "KeyError: 'neurophotometrics'"
    assert passive.statuses[cls] == "Errored"
    assert "KeyError: 'neurophotometrics'" in passive.failure(cls)


# -- a widefield rig's own packages ------------------------------------------------------------------------------------


def test_with_its_packages_a_widefield_session_runs_to_its_end(
    sessions: dict[str, Beside], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is kept, and what waited for labcams and wfield runs."""
    # With AVX-512 the last bits of a decomposition depend on where its arrays lie, from one process to the next.
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    if not WIDEFIELD:
        pytest.skip(
            "labcams and wfield are not installed; set IBL_DASK_PEER_WIDEFIELD_PYTHON to the python that has them"
        )
    widefield = sessions["widefield"]
    place = environment(tmp_path / "env", WIDEFIELD)
    (tmp_path / "reference").mkdir()
    other = Reference(WIDEFIELD, tmp_path / "reference")
    try:
        told = call_by_hand(
            other, widefield.by_hand, place / "bin", set(classes_of(widefield.by_hand).values()) - {*OF_WIDEFIELD}
        )
    finally:
        other.close()
    assert {cls: answer["status"] for cls, answer in told.items()} == dict.fromkeys(OF_WIDEFIELD, 0)
    result = run([widefield.through], environments=ibd.Environments({"ibllib": str(place)}))
    both = Beside(widefield.through, widefield.by_hand, result.sessions[0], told)
    assert {cls: both.statuses[cls] for cls in OF_WIDEFIELD[:-1]} == dict.fromkeys(OF_WIDEFIELD[:-1], "Complete")
    made = {
        "raw_widefield_data/imaging.frames.mov",
        "alf/widefield/imaging.times.npy",
        "alf/widefield/imaging.imagingLightSource.npy",
        "alf/widefield/widefieldU.images.npy",
        "alf/widefield/widefieldSVT.haemoCorrected.npy",
    }
    files = contents(both.through)
    assert made <= files.keys()
    assert files == contents(both.by_hand)
    # The last class is empty in the field: it leaves nothing of what it promises, and there it is Complete.
    assert told["WidefieldFOV"]["outputs"] == []
    assert both.statuses["WidefieldFOV"] == "Waiting"
    assert "WidefieldFOV does nothing in ibllib 4.1.0" in both.reason("WidefieldFOV")
    assert both.outcome.is_success
