"""The tasks of a session, planned here and by the reference from the same description."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from needs import PEER
from random_descriptions import CLOCKS, Content, make_content, write_session

from ibl_dask.model.description_merge import merge_descriptions
from ibl_dask.model.description_reader import read_description
from ibl_dask.model.legacy_protocols import legacy_content
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.devices.session_plan import SessionPlan, plan_session
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.store.pipeline_tasks_yaml import read_specs, write_specs
from ibl_dask.tasks.catalogue import FIELD_TASKS
from ibl_dask.tasks.external.task import ForeignTask

if TYPE_CHECKING:
    from reference import Answer, Reference

pytestmark = pytest.mark.peer

N_DESCRIPTIONS = 240
Specs = dict[str, dict[str, Any]]
KNOWN = ("left", "right", "body", "belly")
POSED = ("left", "right", "body")
VIDEO = ("VideoRegisterRaw", "VideoCompress", "VideoConvert", "VideoSyncQC", "DLC", "PostDLC")
WITH_EXTRACTOR = ("trainingChoiceWorld", "biasedChoiceWorld", "ephysChoiceWorld", "habituationChoiceWorld")


@pytest.fixture(scope="module")
def classes(reference: Reference) -> dict[str, dict[str, Any]]:
    """Return what the reference's classes say that they occupy, by dotted path."""
    return dict(reference.ask("task_classes").values)


@pytest.fixture
def sessions(tmp_path: Path):
    """Return a function that writes a session with a description and returns its folder."""
    numbers = iter(range(1, 1000))

    def write(content: Content) -> Path:
        return write_session(tmp_path / "SW_001" / "2023-05-01" / f"{next(numbers):03}", content)

    return write


def plan_of(folder: Path, pose: tuple[str, ...] | None = None) -> SessionPlan:
    found = next(folder.glob("*.yaml"))
    return plan_session(read_description(found), folder, pose)


def ours(folder: Path, pose: tuple[str, ...] | None = None) -> Specs:
    """Return our tasks by name, as JSON holds them."""
    return {spec.name: json.loads(json.dumps(spec.to_dict())) for spec in plan_of(folder, pose).specs}


def theirs(answer: Answer) -> Specs:
    return {spec["name"]: spec for spec in answer["specs"]}


# -- every intended difference, as a rule that turns the reference's tasks into ours ------------------------------


class Rules:
    """What is planned otherwise for a description, and why."""

    def __init__(self, content: Content, classes: dict[str, dict[str, Any]]) -> None:
        self.classes = classes
        self.kind, self.said = next(iter(content["sync"].items()))
        software = self.said.get("acquisition_software")
        self.clock = software if self.kind == "nidq" and software not in (None, "spikeglx") else self.kind
        self.sync = {
            "sync": self.kind,
            "sync_collection": self.said["collection"],
            "sync_ext": self.said.get("extension"),
            "sync_namespace": software,
        }
        self.devices = content["devices"]
        self.cameras: dict[str, Any] = self.devices.get("cameras", {})
        self.tasks = [(name, body) for entry in content["tasks"] for name, body in entry.items()]
        self.labels = sorted(self.cameras)
        self.converted = [label for label in self.labels if self.cameras[label].get("compressed")]
        self.recorded = [label for label in self.labels if label not in self.converted]
        self.known = [label for label in self.labels if label in KNOWN]
        self.posed = [label for label in self.labels if label in POSED]
        self.applied: set[str] = set()

    def make(self, name: str, path: str, arguments: dict[str, Any], parents: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a task with what the reference's own class says that it occupies."""
        executable = "ibllib.pipes.video_tasks." + path if "." not in path else path
        level = max((parent["level"] + 1 for parent in parents), default=0)
        said = {"name": name, "executable": executable, "arguments": arguments, "level": level}
        return {**said, "parents": [parent["name"] for parent in parents], **self.classes[executable]}

    def on(self, labels: list[str]) -> dict[str, Any]:
        folders = {self.cameras[label]["collection"] for label in labels}
        return {"cameras": labels, **({"device_collection": folders.pop()} if len(folders) == 1 else {})}

    @property
    def unplanned(self) -> dict[int, str]:
        """Return the protocols that no class extracts on this clock, and the class that registers their files."""
        found = {}
        for i, (name, body) in enumerate(self.tasks):
            kind = next((k for k in ("passive", "habituation") if k in name), "trials")
            clocks = ("nidq", "timeline") if kind == "passive" else ("nidq", "timeline", "bpod")
            register = {"passive": "PassiveRegisterRaw", "habituation": "HabituationRegisterRaw"}
            if "extractors" not in body and self.clock not in clocks:
                found[i] = register.get(kind, "TrialRegisterRaw")
        return found

    @property
    def is_compressed_there(self) -> bool:
        """Return what the reference takes for all cameras: the word of the last one."""
        return bool(self.labels) and bool(self.cameras[self.labels[-1]].get("compressed"))

    def error(self) -> str | None:
        """Return what the reference ends with; None where it makes a plan."""
        for i in self.unplanned:
            name = self.tasks[i][0]
            kind = "passive" if "passive" in name else "trials"
            if "habituation" in name:
                return "AttributeError: module 'ibllib.pipes.behavior_tasks' has no attribute 'HabituationTrialsTdms'"
            return f'NotImplementedError: No {kind} task available for sync namespace "{self.clock}"'
        folders = {body["collection"] for _, body in self.tasks if "collection" in body}
        if self.cameras and self.kind == "bpod" and len(folders) > 1 and not self.is_compressed_there:
            return "AssertionError: "
        if self.cameras and self.kind != "bpod":
            stranger = self._stranger() if self.clock == "timeline" else None
            if stranger is not None:
                return f'ValueError: No extractor associated with "{stranger}"'
            if self.kind == "tdms" and not self.is_compressed_there:
                return "KeyError: 'VideoSyncQC_tdms'"
        return None

    def _stranger(self) -> str | None:
        """Return the protocol that the reference has no extractor for and stumbles over, looking for a trials table."""
        for name, body in self.tasks:
            extractors = body.get("extractors")
            trials = extractors[1:2] if isinstance(extractors, list) else [] if extractors else ["ChoiceWorldTrials"]
            if not trials or (not extractors and ("passive" in name or "habituation" in name)):
                continue
            if not name.endswith(WITH_EXTRACTOR):
                return name
            if "habituation" not in name:
                return None
        return None

    def mended(self, content: Content) -> Content:
        """Return the description without what the reference stumbles over, everything else in its place."""
        tasks: list[Any] = [{name: dict(body)} for name, body in self.tasks]
        for i, register in self.unplanned.items():
            next(iter(tasks[i].values()))["extractors"] = register
        return {**content, "tasks": tasks, "devices": {k: v for k, v in self.devices.items() if k != "cameras"}}

    def apply(self, specs: Specs, *, is_mended: bool) -> Specs:
        """Return the tasks that we plan, from those of the reference."""
        found = {name: spec for name, spec in specs.items() if not name.startswith(VIDEO)}
        for i, register in self.unplanned.items():
            self.applied.add("no class for this clock: raw files are registered, the rest goes on")
            name = f"RegisterRaw_{self.tasks[i][0]}_{i:02}"
            found[name] = {**found.pop(f"{register}_{i:02}"), "name": name}
        found |= self._photometry()
        planned = self._video(found)
        original = {name: spec for name, spec in specs.items() if name.startswith(VIDEO)}
        if not is_mended and not self.applied & VIDEO_RULES:
            assert planned == original
        return found | planned

    def _photometry(self) -> Specs:
        entry = self.devices.get("neurophotometrics")
        if entry is None or len(self.tasks) != 1:
            return {}
        self.applied.add("photometry is planned")
        is_passive = "passive" in self.tasks[0][0]
        names = ["PassiveChoiceWorld"] if is_passive else []
        names += ["BpodSync"] if entry["sync_mode"] == "bpod" else [] if is_passive else ["DAQSync"]
        prefix = "FibrePhotometry"
        return {f"{prefix}{n}": self.make(f"{prefix}{n}", f"iblphotometry.tasks.{prefix}{n}", {}, []) for n in names}

    def _video(self, others: Specs) -> Specs:
        if not self.cameras:
            return {}
        self._note_video_rules()
        specs: Specs = {}

        def add(name: str, path: str, arguments: dict[str, Any], parents: list[dict[str, Any]]) -> None:
            specs[name] = self.make(name, path, arguments, parents)

        if self.converted:
            add("VideoConvert", "VideoConvert", self.on(self.converted), [])
        add("VideoRegisterRaw", "VideoRegisterRaw", self.on(self.labels), list(specs.values()))
        if self.recorded:
            add("VideoCompress", "VideoCompress", {**self.on(self.recorded), **self.sync}, [])
        made = [specs[name] for name in ("VideoConvert", "VideoCompress") if name in specs]
        pulses = [others[name] for name in others if name.startswith("SyncPulses")]
        timing = None
        if self.kind == "nidq" and self.known:
            is_logged = any(label in self.converted for label in self.known)
            path = "VideoSyncQcCamlog" if is_logged else "VideoSyncQcNidq"
            add("VideoSyncQC_nidq", path, {**self.on(self.known), **self.sync}, [*made, *pulses])
            timing = specs["VideoSyncQC_nidq"]
        elif self.kind == "bpod" and self.wired:
            add("VideoSyncQC_bpod", "VideoSyncQcBpod", {**self.on([self.wired]), **self.sync}, made)
        if self.kind != "bpod" and self.posed:
            add("DLC", "DLC", self.on(self.posed), made)
            trials, folder = self._trials(others)
            if timing is not None:
                arguments = {"cameras": self.posed, "trials_collection": folder}
                add("PostDLC", "EphysPostDLC", arguments, [specs["DLC"], timing, *trials])
        return specs

    @property
    def wired(self) -> str | None:
        """Return the camera that a Bpod times."""
        for chosen in (
            [label for label in self.known if self.cameras[label]["sync_label"] == "bpod"],
            [label for label in self.known if self.cameras[label]["sync_label"]],
            self.known,
        ):
            if len(chosen) == 1 or "left" in chosen:
                return "left" if "left" in chosen else chosen[0]
        return None

    def _note_video_rules(self) -> None:
        folders = {self.cameras[label]["collection"] for label in self.labels}
        applies = {
            "folders of cameras": folders != {"raw_video_data"},
            "converted videos": bool(self.converted),
            "some converted": bool(self.converted) and bool(self.recorded),
            "one camera of a Bpod": self.kind == "bpod" and self.labels != [self.wired],
            "no frame times": self.kind == "tdms",
            "no network": self.kind != "bpod" and not self.posed,
            "no route": self.kind == "nidq" and not self.known,
        }
        self.applied |= {name for name, does in applies.items() if does}

    def _trials(self, others: Specs) -> tuple[list[dict[str, Any]], str]:
        for i, (_, body) in enumerate(self.tasks):
            for name, spec in others.items():
                is_table = spec["executable"].startswith("ibllib.pipes.behavior_tasks.ChoiceWorldTrials")
                is_table &= not (self.clock == "timeline" and "habituation" in self.tasks[i][0])
                if is_table and name.startswith("Trials_") and name.endswith(f"_{i:02}"):
                    number = spec["arguments"].get("protocol_number", body.get("protocol_number"))
                    return [spec], "alf" if number is None else f"alf/task_{number:02}"
        return [], "alf"


VIDEO_RULES = {
    "folders of cameras", "converted videos", "some converted", "one camera of a Bpod", "no frame times",
    "no network", "no route",
}  # fmt: skip


def same_tasks(left: Specs, right: Specs) -> None:
    """Insist on equal tasks; parents are a set."""
    assert left.keys() == right.keys()
    for name in left:
        one, other = ({**spec, "parents": sorted(spec["parents"])} for spec in (left[name], right[name]))
        assert one == other, name


def test_any_session_has_the_tasks_of_the_reference(
    reference: Reference, classes: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Names, classes, arguments, parents, levels and resources; each intended difference is a rule, and only those."""
    seen: Counter[str] = Counter()
    for seed in range(N_DESCRIPTIONS):
        content = make_content(seed)
        folder = write_session(tmp_path / "SW_001" / "2023-05-01" / f"{seed:03}", content)
        answer = reference.ask("plan", session=str(folder))
        rules = Rules(content, classes)
        assert answer.error == rules.error(), seed
        if answer.error is not None:
            mended = write_session(tmp_path / "SW_002" / "2023-05-01" / f"{seed:03}", rules.mended(content))
            specs = theirs(reference.ask("plan", session=str(mended)))
            seen["stumbled"] += 1
        else:
            specs = theirs(answer)
        expected = rules.apply(specs, is_mended=answer.error is not None)
        same_tasks(ours(folder), expected)
        if not rules.applied and answer.error is None:
            same_tasks(expected, specs)
            seen["the same"] += 1
        seen.update(rules.applied)
    assert seen["the same"] > 50
    assert set(seen) >= VIDEO_RULES | {"photometry is planned", "stumbled"}
    print(N_DESCRIPTIONS, "descriptions:", dict(seen))


def test_every_class_occupies_what_the_reference_says(classes: dict[str, dict[str, Any]]) -> None:
    for name, known in FIELD_TASKS.items():
        said = classes[f"{known.module}.{name}"]
        found = (known.priority, known.cpu, known.gpu, 4, known.io_charge, 7200, known.job_size, known.env)
        assert found == tuple(said.values()), name


# -- the file of tasks ---------------------------------------------------------------------------------------------

EPHYS: Content = {
    "version": "1.0.0",
    "sync": CLOCKS["nidq"],
    "devices": {
        "cameras": {
            label: {"collection": "raw_video_data", "sync_label": "audio"} for label in ("body", "left", "right")
        },
        "neuropixel": {
            "probe00": {"collection": "raw_ephys_data/probe00", "sync_label": "imec_sync", "made_as": "NP2.4"}
        },
        "microphone": {"microphone": {"collection": "raw_task_data_00", "sync_label": None}},
        "widefield": {"widefield": {"collection": "raw_widefield_data", "sync_label": "frame_trigger"}},
    },
    "tasks": [
        {"_iblrig_tasks_ephysChoiceWorld": {"collection": "raw_task_data_00", "sync_label": "bpod"}},
        {"_iblrig_tasks_passiveChoiceWorld": {"collection": "raw_task_data_01", "sync_label": "bpod"}},
    ],
}


def test_the_reference_s_file_of_tasks_is_read(reference: Reference, sessions) -> None:
    folder = sessions(EPHYS)
    assert reference.ask("write_plan", session=str(folder)).error is None
    expected = theirs(reference.ask("plan", session=str(folder)))
    for spec in read_specs(folder):
        # Alyx has no room for environment and size of a job: the class says them.
        said = expected.pop(spec.name)
        assert spec == TaskSpec.from_dict({**said, "env": None, "job_size": "small"})
    assert expected == {}


def test_the_reference_reads_our_file_of_tasks_and_builds_each(reference: Reference, sessions) -> None:
    folder = sessions(EPHYS)
    planned = plan_of(folder).specs
    write_specs(folder, planned)
    answer = reference.ask("read_plan", session=str(folder))
    assert answer["specs"] == [json.loads(json.dumps(spec.to_dict())) for spec in _in_their_order(planned)]
    assert answer["built"] == [spec["executable"].rsplit(".", 1)[-1] for spec in answer["specs"]]


def _in_their_order(specs: tuple[TaskSpec, ...]) -> list[TaskSpec]:
    """Return the tasks as the reference sorts them: the first whose parents are placed comes next."""
    left, placed = list(specs), []
    while left:
        names = {spec.name for spec in placed}
        placed.append(left.pop(next(i for i, spec in enumerate(left) if set(spec.parents) <= names)))
    return placed


# -- descriptions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["ephysChoiceWorld", "biasedChoiceWorld6", "x_trainingPhase", "habituation"])
def test_a_protocol_stands_for_the_same_session(reference: Reference, protocol: str) -> None:
    assert legacy_content(protocol) == reference.ask("legacy", protocol=protocol)["content"]


def test_computers_of_one_session_are_merged_alike(reference: Reference) -> None:
    """Lists of names are sets in the reference, whose order is left to chance."""
    for seed in range(0, 60, 2):
        first, second = make_content(seed), make_content(seed + 1)
        del second["sync"]
        second["projects"] = ["another"]
        if not second["tasks"]:  # an empty list ends in an AssertionError there
            del second["tasks"]
        expected = reference.ask("merge", first=first, second=second)["merged"]
        assert merge_descriptions(first, second) == expected


# -- what the reference stumbles over, one thing at a time ---------------------------------------------------------


def changed(**parts: Any) -> Content:
    """Return a session with two cameras on a nidq, some parts changed."""
    cameras = {label: {"collection": "raw_video_data"} for label in ("left", "right")}
    content: Content = {"version": "1.0.0", "sync": CLOCKS["nidq"], "devices": {"cameras": cameras}, "tasks": []}
    devices = {**content["devices"], **parts.pop("devices", {})}
    return {**content, **parts, "devices": devices}


TWO_RUNS = [{"cw": {"collection": f"raw_task_data_{i:02}"}} for i in range(2)]


@pytest.mark.parametrize(
    ("content", "error", "planned"),
    [
        (changed(version=1.0), "InvalidVersion", {"VideoCompress", "VideoSyncQC_nidq", "DLC", "PostDLC"}),
        (changed(version=2), "InvalidVersion", {"VideoCompress", "VideoSyncQC_nidq"}),
        (changed(sync={}), "ValueError", {"VideoRegisterRaw", "VideoCompress", "DLC"}),
        (changed(sync={**CLOCKS["nidq"], **CLOCKS["bpod"]}), "ValueError", {"VideoSyncQC_bpod"}),
        (changed(sync={"nidq": None}), "AttributeError", {"SyncPulses_nidq", "VideoSyncQC_nidq"}),
        (changed(sync={"nidq": {}}), "KeyError", {"SyncPulses_nidq", "VideoSyncQC_nidq"}),
        (changed(sync=CLOCKS["tdms"]), "KeyError: 'VideoSyncQC_tdms'", {"VideoCompress", "DLC", "SyncRegisterRaw"}),
        (changed(sync=CLOCKS["bpod"], tasks=TWO_RUNS), "AssertionError", {"VideoSyncQC_bpod", "Trials_cw_00"}),
        (changed(tasks=[{"cw": None}]), "AttributeError", {"Trials_cw_00", "PostDLC"}),
        (changed(tasks=[{"cw": {"extractors": ["ChoiceWorldTrialsBpod"]}}]), "ValueError", {"VideoSyncQC_nidq"}),
        (changed(tasks=[{"cw": {"extractors": ["MyTrials"]}}]), "ModuleNotFoundError", {"Trials_MyTrials_00"}),
        (
            changed(tasks=[{"a": {"collection": "raw_task_data_00", "protocol_number": 1}}, *TWO_RUNS[1:]]),
            "AssertionError: protocol numbers must be unique",
            {"Trials_a_00", "VideoSyncQC_nidq"},
        ),
        (changed(devices={"microphone": {"a": {}}}), "KeyError", {"VideoSyncQC_nidq"}),
        (changed(devices={"microphone": {}}), "ValueError", {"VideoSyncQC_nidq"}),
        (changed(devices={"widefield": {"a": None}}), "AttributeError", {"VideoSyncQC_nidq"}),
        (changed(devices={"cameras": {"left": None, "right": {}}}), "AttributeError", {"VideoSyncQC_nidq", "DLC"}),
    ],
)
def test_what_ends_planning_in_the_reference_costs_one_device_at_most(
    reference: Reference, sessions, content: Content, error: str, planned: set[str]
) -> None:
    folder = sessions(content)
    answer = reference.ask("plan", session=str(folder))
    assert answer.error is not None
    assert answer.error.startswith(error)
    assert planned <= ours(folder).keys()


def test_a_probe_without_recording_costs_itself_alone(reference: Reference, sessions) -> None:
    folder = sessions(EPHYS)
    for header in folder.rglob("*.meta"):
        header.unlink()
    assert (reference.ask("plan", session=str(folder)).error or "").startswith("IndexError")
    found = plan_of(folder)
    assert [problem.part for problem in found.problems] == ["neuropixel.probe00"]
    assert {"EphysRegisterRaw", "VideoSyncQC_nidq", "WidefieldFOV"} <= {spec.name for spec in found.specs}


def test_a_mesoscope_is_left_to_its_own_package_by_both(reference: Reference, sessions) -> None:
    folder = sessions(changed(devices={"mesoscope": {"mesoscope": {"collection": "raw_imaging_data_*"}}}))
    answer = reference.ask("plan", session=str(folder))
    assert "mesoscope" in answer["errors"]
    assert [problem.part for problem in plan_of(folder).problems] == ["mesoscope"]


PLANNER = """
def plan(session_path, context=None):
    before = [task["name"] for task in context["tasks"]]
    return {
        "MesoscopePreprocess": {
            "name": "MesoscopePreprocess", "executable": "mpci.suite2p.task.MesoscopePreprocess", "priority": 80,
            "cpu": -1, "ram": 16, "time_out_sec": 7200, "job_size": "large", "env": "mpci",
            "arguments": {"device_collection": str(session_path.name), "n_before": len(before)}, "parents": [],
        },
        "MesoscopeSync": {
            "name": "MesoscopeSync", "executable": "mpci.tasks.MesoscopeSync", "arguments": {},
            "parents": [next(name for name in before if name.startswith("SyncPulses"))],
        },
    }
"""


def make_mpci(folder: Path, planner: str) -> Path:
    """Return a python that holds the reference and a stand-in for mpci, which PyPI does not have: a planner alone."""
    package = folder / "site" / "mpci" / "alyx"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "pipeline.py").write_text(planner)
    python = folder / "bin" / "python"
    python.parent.mkdir()
    peer = PEER
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}/site" exec "{peer}" "$@"\n')
    python.chmod(0o755)
    return python


def test_a_mesoscope_is_planned_by_its_own_package_where_that_is_installed(
    reference: Reference, sessions, tmp_path: Path
) -> None:
    """Through the field's own program for that, told of the other tasks as the reference tells it."""
    folder = sessions(changed(devices={"mesoscope": {"mesoscope": {"collection": "raw_imaging_data_*"}}}))
    places = {"mpci": str(make_mpci(tmp_path / "mpci", PLANNER))}
    made = make_pipeline(folder, environments=places)
    core = {spec.name for spec in plan_of(folder).specs}
    specs = {spec.name: spec for spec in made.specs}
    assert specs.keys() == core | {"MesoscopePreprocess", "MesoscopeSync"}
    preprocess = specs["MesoscopePreprocess"]
    assert dict(preprocess.arguments) == {"device_collection": folder.name, "n_before": len(core)}
    assert (preprocess.priority, preprocess.resources.memory_gb, preprocess.job_size) == (80, 16, "large")
    assert specs["MesoscopeSync"].parents == ("SyncPulses_nidq",)
    assert specs["MesoscopeSync"].level == specs["SyncPulses_nidq"].level + 1
    assert not [note for note in made.notes if note.startswith("mesoscope")]
    task = made.tasks["MesoscopeSync"]
    assert isinstance(task, ForeignTask)
    assert (task.environment, task.unmet_requirement()) == ("mpci", None)
    answer = reference.ask("plan_with", session=str(folder), planner=PLANNER, folder=str(tmp_path / "theirs"))
    theirs = {spec["name"]: spec for spec in answer["specs"]}
    for name in ("MesoscopePreprocess", "MesoscopeSync"):
        # How many tasks there are beside it differs by those that the reference forgets or plans otherwise.
        for part in ("executable", "parents", "priority", "cpu", "ram", "job_size"):
            assert specs[name].to_dict()[part] == theirs[name][part]


ORPHAN = """
def plan(session_path, context=None):
    return [{"name": "MesoscopeSync", "executable": "mpci.tasks.MesoscopeSync", "parents": ["Nobody"]}]
"""


@pytest.mark.parametrize(
    ("planner", "said"),
    [
        ("def plan(session_path, context=None): raise OSError('no header')", "OSError: no header"),
        (ORPHAN, "MesoscopeSync waits for a task that is not there"),
    ],
)
def test_a_planner_that_fails_costs_its_own_device_and_is_quoted(
    sessions, tmp_path: Path, planner: str, said: str
) -> None:
    folder = sessions(changed(devices={"mesoscope": {"mesoscope": {"collection": "raw_imaging_data_*"}}}))
    made = make_pipeline(folder, environments={"mpci": str(make_mpci(tmp_path / "mpci", planner))})
    assert {spec.name for spec in made.specs} == {spec.name for spec in plan_of(folder).specs}
    (note,) = (note for note in made.notes if note.startswith("mesoscope"))
    assert "mpci.alyx.pipeline:plan does not plan it" in note
    assert said in note


def test_photometry_is_planned_where_the_reference_forgets_it(reference: Reference, sessions) -> None:
    tasks = [{"_iblrig_tasks_trainingChoiceWorld": {"collection": "raw_task_data_00"}}]
    content = changed(tasks=tasks, devices={"neurophotometrics": {"sync_mode": "bpod", "collection": "raw_photometry"}})
    folder = sessions(content)
    extra = ours(folder).keys() - theirs(reference.ask("plan", session=str(folder))).keys()
    assert extra == {"FibrePhotometryBpodSync"}


def test_a_camlog_waits_for_what_makes_it(reference: Reference, sessions) -> None:
    cameras = {label: {"collection": "raw_video_data", "compressed": True} for label in ("left", "right")}
    folder = sessions(changed(sync=CLOCKS["nidq of a widefield rig"], devices={"cameras": cameras}))
    assert theirs(reference.ask("plan", session=str(folder)))["VideoSyncQC_nidq"]["parents"] == []
    assert ours(folder)["VideoSyncQC_nidq"]["parents"] == ["VideoConvert", "SyncPulses_nidq"]


def test_each_camera_says_itself_whether_it_is_compressed(reference: Reference, sessions) -> None:
    cameras = {"left": {"collection": "raw_video_data", "compressed": True}, "right": {"collection": "raw_video_data"}}
    folder = sessions(changed(devices={"cameras": cameras}))
    assert "VideoConvert" not in theirs(reference.ask("plan", session=str(folder)))
    assert ours(folder)["VideoConvert"]["arguments"]["cameras"] == ["left"]
    assert ours(folder)["VideoCompress"]["arguments"]["cameras"] == ["right"]


def test_a_camera_s_own_folder_is_believed(reference: Reference, sessions) -> None:
    cameras = {label: {"collection": "raw_video_data_2"} for label in ("left", "right")}
    folder = sessions(changed(devices={"cameras": cameras}))
    there = theirs(reference.ask("plan", session=str(folder)))["DLC"]["arguments"]
    assert there["device_collection"] == "raw_video_data"
    assert ours(folder)["DLC"]["arguments"] == {**there, "device_collection": "raw_video_data_2"}
