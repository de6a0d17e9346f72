"""From descriptions to tasks, without running one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from random_descriptions import make_content, write_session

from ibl_dask.model.description_reader import understand
from ibl_dask.pipeline.devices.session_plan import SessionPlan, plan_session

NOWHERE = Path("/nowhere/SW_001/2023-05-01/001")
TRAINING = """\
sync: {bpod: {collection: raw_task_data_00}}
devices:
  cameras: {left: {collection: raw_video_data, sync_label: audio}}
  microphone: {microphone: {collection: raw_task_data_00, sync_label: null}}
tasks: [_iblrig_tasks_trainingChoiceWorld: {collection: raw_task_data_00, sync_label: bpod}]
"""
EPHYS = """\
sync: {nidq: {collection: raw_ephys_data, extension: bin, acquisition_software: spikeglx}}
devices: {cameras: {left: , right: , body: , belly: , ear: }}
tasks:
  - ephysChoiceWorld: {collection: raw_task_data_00, sync_label: bpod}
  - passiveChoiceWorld: {collection: raw_task_data_01, sync_label: bpod}
"""


def plan(text: str, pose: tuple[str, ...] | None = None) -> SessionPlan:
    return plan_session(understand(yaml.safe_load(text)), NOWHERE, pose)


def nodes(found: SessionPlan) -> dict[str, tuple[int, set[str]]]:
    return {spec.name: (spec.level, set(spec.parents)) for spec in found.specs}


def by_name(found: SessionPlan) -> dict[str, Any]:
    return {spec.name: spec for spec in found.specs}


def test_a_training_rig() -> None:
    name = "_iblrig_tasks_trainingChoiceWorld_00"
    assert nodes(plan(TRAINING)) == {
        "ExperimentDescriptionRegisterRaw": (0, set()),
        f"RegisterRaw_{name}": (0, set()),
        f"Trials_{name}": (1, {f"RegisterRaw_{name}"}),
        f"TrainingStatus_{name}": (2, {f"Trials_{name}"}),
        "VideoRegisterRaw": (0, set()),
        "VideoCompress": (0, set()),
        "VideoSyncQC_bpod": (1, {"VideoCompress"}),
        "AudioRegisterRaw": (0, set()),
    }
    assert by_name(plan(TRAINING))["VideoCompress"].arguments == {
        "cameras": ["left"],
        "device_collection": "raw_video_data",
        "sync": "bpod",
        "sync_collection": "raw_task_data_00",
        "sync_ext": None,
        "sync_namespace": None,
    }


def test_an_ephys_rig_with_chained_tasks() -> None:
    found = plan(EPHYS)
    assert nodes(found) == {
        "ExperimentDescriptionRegisterRaw": (0, set()),
        "SyncRegisterRaw": (0, set()),
        "SyncPulses_nidq": (1, {"SyncRegisterRaw"}),
        "RegisterRaw_ephysChoiceWorld_00": (0, set()),
        "Trials_ephysChoiceWorld_00": (2, {"RegisterRaw_ephysChoiceWorld_00", "SyncPulses_nidq"}),
        "TrainingStatus_ephysChoiceWorld_00": (3, {"Trials_ephysChoiceWorld_00"}),
        "RegisterRaw_passiveChoiceWorld_01": (0, set()),
        "Trials_passiveChoiceWorld_01": (2, {"RegisterRaw_passiveChoiceWorld_01", "SyncPulses_nidq"}),
        "VideoRegisterRaw": (0, set()),
        "VideoCompress": (0, set()),
        "VideoSyncQC_nidq": (2, {"VideoCompress", "SyncPulses_nidq"}),
        "DLC": (1, {"VideoCompress"}),
        "PostDLC": (3, {"DLC", "VideoSyncQC_nidq", "Trials_ephysChoiceWorld_00"}),
    }
    specs = by_name(found)
    assert specs["VideoRegisterRaw"].arguments["cameras"] == ["belly", "body", "ear", "left", "right"]
    assert specs["VideoSyncQC_nidq"].arguments["cameras"] == ["belly", "body", "left", "right"]
    assert specs["DLC"].arguments["cameras"] == ["body", "left", "right"]
    assert specs["PostDLC"].arguments == {"cameras": ["body", "left", "right"], "trials_collection": "alf/task_00"}
    assert [problem.part for problem in found.problems] == ["cameras.ear"]


def test_pose_may_be_asked_for_with_any_clock_and_any_estimator() -> None:
    both = by_name(plan(TRAINING, ("dlc", "lightning_pose")))
    assert both["LightningPose"].env == "litpose"
    assert both["DLC"].env == "dlc"
    trials = "Trials__iblrig_tasks_trainingChoiceWorld_00"
    assert set(both["PostLP"].parents) == {"LightningPose", "VideoSyncQC_bpod", trials}
    assert both["PostLP"].arguments == {"cameras": ["left"], "trials_collection": "alf/task_00"}
    asked = by_name(plan(TRAINING + "pose: lightning_pose\n"))
    assert {"LightningPose", "PostLP"} <= asked.keys()
    assert "DLC" not in asked
    assert "DLC" not in by_name(plan(EPHYS, ()))
    assert "sleap" in str(plan(EPHYS, ("sleap",)).problems[-1])


def test_a_camlog_is_timed_after_conversion_and_sync() -> None:
    text = EPHYS.replace("left: , right: , body: , belly: , ear: ", "left: {compressed: true}")
    timing = by_name(plan(text))["VideoSyncQC_nidq"]
    assert timing.executable.endswith(".VideoSyncQcCamlog")
    assert set(timing.parents) == {"VideoConvert", "SyncPulses_nidq"}


@pytest.mark.parametrize(
    ("change", "part", "lost"),
    [
        ("devices: {microphone: {a: {}}}", "microphone.a", {"AudioRegisterRaw"}),
        ("devices: {microphone: {a: {collection: x}, b: {collection: y}}}", "microphone", {"AudioRegisterRaw"}),
        ("devices: {microphone: loud}", "microphone", {"AudioRegisterRaw"}),
        ("devices: {widefield: {a: }}", "widefield.a", {"WidefieldCompress"}),
        ("devices: {neuropixel: [a]}", "neuropixel", {"EphysRegisterRaw"}),
        ("devices: {neuropixel: {probe00: {collection: gone}}}", "neuropixel.probe00", {"EphyCompressNP1_probe00"}),
        ("devices: {neuropixel: {probe00: }}", "neuropixel.probe00", {"EphyCompressNP1_probe00"}),
        ("devices: {neurophotometrics: {sync_mode: guess}}", "neurophotometrics", {"FibrePhotometryBpodSync"}),
        ("devices: {mesoscope: {mesoscope: {collection: x}}}", "mesoscope", {"MesoscopePreprocess"}),
        ("devices: {eyetracker: {a: }}", "eyetracker", set()),
        ("devices: {cameras: {left: {fps: fast}}}", "cameras.left.fps", {"VideoCompress"}),
        ("tasks: [passiveChoiceWorld: ]", "tasks.0.passiveChoiceWorld", {"Trials_passiveChoiceWorld_00"}),
        ("sync: {opal: {}}", "sync", {"SyncRegisterRaw"}),
    ],
)
def test_a_device_that_makes_no_sense_is_named_and_stops_no_other(change: str, part: str, lost: set[str]) -> None:
    whole = yaml.safe_load(TRAINING)
    for name, value in yaml.safe_load(change).items():
        whole[name] = {**whole[name], **value} if name == "devices" else value
    found = plan_session(understand(whole), NOWHERE)
    assert part in [problem.part for problem in found.problems]
    names = {spec.name for spec in found.specs}
    assert not lost & names
    assert {"ExperimentDescriptionRegisterRaw"} < names
    assert "AudioRegisterRaw" in names or part.startswith(("microphone", "sync"))


def test_a_number_given_twice_costs_the_second_protocol() -> None:
    entry = "{collection: raw_task_data_00, protocol_number: 0}"
    found = plan(f"sync: {{bpod: {{}}}}\ntasks: [a: {entry}, b: {entry}]")
    assert "Trials_a_00" in by_name(found)
    assert "Trials_b_01" not in by_name(found)
    assert "given twice" in str(found.problems[0])


def test_extractors_of_a_lab_are_planned_without_importing_them() -> None:
    text = "sync: {nidq: {}}\ntasks: [cw: {collection: raw_task_data_00, extractors: [TrialRegisterRaw, MyTrials]}]"
    trials = by_name(plan(text))["Trials_MyTrials_00"]
    assert trials.executable == "projects.extraction_tasks.MyTrials"
    assert trials.parents == ("TrialRegisterRaw_00", "SyncPulses_nidq")
    assert trials.arguments["sync"] == "nidq"


def test_an_extractor_of_another_clock_is_named() -> None:
    found = plan("sync: {nidq: {}}\ntasks: [cw: {extractors: [ChoiceWorldTrialsBpod]}]")
    assert "is for bpod" in str(found.problems[0])


def test_cameras_of_different_folders_say_themselves_where_they_are() -> None:
    one = plan("devices: {cameras: {left: {collection: a}, right: {collection: a}}}\nsync: {nidq: {}}")
    assert by_name(one)["VideoRegisterRaw"].arguments["device_collection"] == "a"
    two = plan("devices: {cameras: {left: {collection: a}, right: {collection: b}}}\nsync: {nidq: {}}")
    assert "device_collection" not in by_name(two)["VideoRegisterRaw"].arguments


def test_without_a_clock_what_needs_none_is_planned() -> None:
    found = plan("devices: {cameras: {left: }}")
    assert {"VideoRegisterRaw", "VideoCompress", "DLC"} < by_name(found).keys()
    assert {"sync", "cameras", "pose"} == {problem.part for problem in found.problems}


@settings(max_examples=60, deadline=None)
@given(st.integers(1000, 10**6))
def test_tasks_are_a_graph_without_circles(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    content = make_content(seed)
    folder = write_session(tmp_path_factory.mktemp("any") / "SW_001" / "2023-05-01" / "001", content)
    found = plan_session(understand(content), folder)
    names = [spec.name for spec in found.specs]
    assert len(set(names)) == len(names)
    for place, spec in enumerate(found.specs):
        assert set(spec.parents) <= set(names[:place])
        assert json.loads(json.dumps(spec.to_dict())) == spec.to_dict()


def test_planning_imports_nothing_heavy(session_folder: Path) -> None:
    code = (
        "import sys\nfrom ibl_dask.cli.plan import show_plan\nassert show_plan([sys.argv[1]], *[None] * 4) == 0\n"
        "print('HEAVY', *(m for m in ('av', 'cv2', 'dask', 'distributed', 'torch', 'ibllib') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(session_folder)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["HEAVY"]
