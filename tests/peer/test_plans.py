"""The tasks of a session, planned here and by the reference from the same description."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from peer.descriptions import Content, make_content, write_session

from ibl_dask.model.description import ExperimentDescription
from ibl_dask.pipeline.devices.catalogue import FIELD_TASKS
from ibl_dask.pipeline.specs import SessionPlan, plan_session

if TYPE_CHECKING:
    from peer.reference import Answer, Reference

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
    return plan_session(ExperimentDescription.read(found), folder, pose)


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
