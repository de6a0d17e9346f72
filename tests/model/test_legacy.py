"""Sessions of the time before descriptions."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibl_dask.errors import DescriptionError
from ibl_dask.model.session import Session


@pytest.fixture
def session(tmp_path: Path):
    """Return a function that makes a session whose task settings name a protocol."""

    def make(settings: str | None) -> Session:
        folder = tmp_path / "SW_001" / "2020-05-01" / "001"
        (folder / "raw_behavior_data").mkdir(parents=True)
        if settings is not None:
            (folder / "raw_behavior_data" / "_iblrig_taskSettings.raw.json").write_text(settings)
        return Session(folder)

    return make


def test_a_protocol_of_an_ephys_rig_stands_for_three_cameras_and_two_probes(session) -> None:
    found = session('{"PYBPOD_PROTOCOL": "_iblrig_tasks_ephysChoiceWorld6.4.2"}').description
    assert found.origin == "protocol"
    assert [camera.label for camera in found.cameras] == ["body", "left", "right"]
    assert set(found.devices) == {"neuropixel", "microphone"}
    assert [(p.name, p.collection) for p in found.protocols] == [
        ("ephysChoiceWorld", "raw_behavior_data"),
        ("passiveChoiceWorld", "raw_passive_data"),
    ]


@pytest.mark.parametrize("word", ["training", "biased", "habituation"])
def test_a_protocol_of_a_training_rig_stands_for_a_left_camera_on_a_bpod(session, word: str) -> None:
    found = session(f'{{"PYBPOD_PROTOCOL": "_iblrig_tasks_{word}ChoiceWorld6.4.2"}}').description
    assert [camera.label for camera in found.cameras] == ["left"]
    assert found.sync is not None
    assert (found.sync.kind, found.sync.collection) == ("bpod", "raw_behavior_data")
    assert found.protocols[0].name == f"{word}ChoiceWorld"


def test_a_protocol_that_nobody_knows_is_refused(session) -> None:
    with pytest.raises(DescriptionError, match="does not say what was recorded") as caught:
        _ = session('{"PYBPOD_PROTOCOL": "_iblrig_calibration"}').description
    assert caught.value.got == "_iblrig_calibration"


@pytest.mark.parametrize("settings", [None, "{}", "[1]"])
def test_a_session_that_says_nothing_at_all_is_refused(session, settings: str | None) -> None:
    with pytest.raises(DescriptionError, match="no experiment description"):
        _ = session(settings).description


def test_settings_that_are_damaged_are_named(session) -> None:
    with pytest.raises(DescriptionError, match="cannot be read") as caught:
        _ = session('{"PYBPOD').description
    assert caught.value.where.endswith("_iblrig_taskSettings.raw.json")


def test_an_empty_description_gives_way_to_the_protocol(session) -> None:
    made = session('{"PYBPOD_PROTOCOL": "_iblrig_tasks_trainingChoiceWorld"}')
    (made.path / "_ibl_experiment.description.yaml").write_text("")
    assert made.description.origin == "protocol"
    other = Session(made.path)
    (made.path / "_ibl_experiment.description.yaml").write_text("projects: [a]")
    assert other.description.origin == "file"
