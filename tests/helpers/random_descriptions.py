"""Descriptions of any session, made from a seed, and session folders that hold them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

PROBES = {
    "3A": "typeEnabled=1\n",
    "NP1": "imDatPrb_type=0\nimDatPrb_port=1\nimDatPrb_slot=2\n",
    "NP2.1": "imDatPrb_type=21\n~snsShankMap=(1,2,640)(0:0:0:1)(0:1:0:1)\n",
    "NP2.4": "imDatPrb_type=24\n~snsShankMap=(4,2,640)(0:0:0:1)(1:0:0:1)(2:1:0:1)(3:1:1:1)\n",
    "NP2.4 on one shank": "imDatPrb_type=2013\n~snsShankMap=(4,2,640)(2:0:0:1)(2:1:0:1)\n",
}
"""Kind of probe -> what the header of its recording says."""
CLOCKS: dict[str, dict[str, Any]] = {
    "nidq": {"nidq": {"collection": "raw_ephys_data", "extension": "bin", "acquisition_software": "spikeglx"}},
    "nidq without software": {"nidq": {"collection": "raw_ephys_data", "extension": "bin"}},
    "nidq of a widefield rig": {
        "nidq": {"collection": "raw_sync_data", "extension": "bin", "acquisition_software": "spikeglx"}
    },
    "timeline": {"nidq": {"collection": "raw_sync_data", "extension": "npy", "acquisition_software": "timeline"}},
    "bpod": {"bpod": {"collection": "raw_task_data_00"}},
    "bpod of long ago": {"bpod": {"collection": "raw_behavior_data", "extension": "jsonable"}},
    "tdms": {"tdms": {"collection": "raw_daq_data", "extension": "tdms"}},
}
PROTOCOLS = (
    "_iblrig_tasks_trainingChoiceWorld",
    "_iblrig_tasks_biasedChoiceWorld",
    "_iblrig_tasks_ephysChoiceWorld",
    "_iblrig_tasks_passiveChoiceWorld",
    "_iblrig_tasks_habituationChoiceWorld",
    "samuel_cuedBiasedChoiceWorld",
)
LABELS = ("left", "right", "body", "belly", "ear")
Content = dict[str, Any]


def make_content(seed: int) -> Content:
    """Return what a description holds: well-formed parts in any combination."""
    draw = random.Random(seed)
    clock = draw.choice(list(CLOCKS))
    devices: dict[str, Any] = {}
    if draw.random() < 0.85:
        devices["cameras"] = _cameras(draw)
    if draw.random() < 0.4:
        names = ["probe00", "probe01", "probe02"][: draw.randint(1, 3)]
        kinds = [draw.choice(list(PROBES))] * 3 if draw.random() < 0.3 else draw.choices(list(PROBES)[1:], k=3)
        devices["neuropixel"] = {
            name: {"collection": f"raw_ephys_data/{name}", "sync_label": "imec_sync", "made_as": kind}
            for name, kind in zip(names, kinds, strict=False)
        }
    if draw.random() < 0.5:
        devices["microphone"] = {"microphone": {"collection": "raw_task_data_00", "sync_label": None}}
    if draw.random() < 0.2:
        devices["widefield"] = {"widefield": {"collection": "raw_widefield_data", "sync_label": "frame_trigger"}}
    if draw.random() < 0.1:
        devices["mesoscope"] = {"mesoscope": {"collection": "raw_imaging_data_*", "sync_label": "chrono"}}
    if draw.random() < 0.1:
        devices["neurophotometrics"] = {"sync_mode": draw.choice(["bpod", "daqami"]), "collection": "raw_photometry"}
    return {
        "version": "1.0.0",
        "sync": CLOCKS[clock],
        "devices": devices,
        "tasks": _tasks(draw, clock),
        "procedures": ["Behavior training/tasks"],
        "projects": ["a_project"],
    }


def _cameras(draw: random.Random) -> dict[str, Any]:
    labels = draw.sample(LABELS, draw.randint(1, 4))
    compressed = draw.choice(["none", "none", "none", "all", "some"])
    folder = draw.choice(["raw_video_data"] * 4 + ["raw_video_data_2"])
    found: dict[str, Any] = {}
    for label in sorted(labels):
        found[label] = {"collection": folder, "sync_label": draw.choice(["audio", "audio", None, "bpod"])}
        if compressed == "all" or (compressed == "some" and draw.random() < 0.5):
            found[label]["compressed"] = True
    if draw.random() < 0.1:
        found[max(found)]["collection"] = "raw_other_data"
    return found


def _tasks(draw: random.Random, clock: str) -> list[dict[str, Any]]:
    tasks = []
    n = draw.choice([0, 1, 1, 1, 2, 2, 3])
    numbers = draw.sample(range(n), n) if draw.random() < 0.3 else None
    for i in range(n):
        body: dict[str, Any] = {"sync_label": "bpod"}
        if draw.random() < 0.9:
            body["collection"] = f"raw_task_data_{i:02}"
        if n == 1 and draw.random() < 0.3:
            body["collection"] = "raw_behavior_data"
        if numbers is not None:
            body["protocol_number"] = numbers[i]
        if draw.random() < 0.25:
            suffix = {"nidq": "Nidq", "bpod": "Bpod", "timeline": "Timeline"}.get(clock.split()[0], "")
            trials = draw.choice(["ChoiceWorldTrials", "ChoiceWorldTrials" + suffix])
            chain = ["TrialRegisterRaw", trials, "TrainingStatus"][: draw.randint(1, 3)]
            body["extractors"] = chain if suffix else chain[0]
        tasks.append({draw.choice(PROTOCOLS): body})
    return tasks


def write_session(folder: Path, content: Content) -> Path:
    """Write a session folder with a description and the headers of its probes."""
    folder.mkdir(parents=True)
    (folder / "_ibl_experiment.description.yaml").write_text(yaml.safe_dump(content))
    probes = (content.get("devices") or {}).get("neuropixel") or {}
    for name, body in probes.items():
        place = folder / body["collection"]
        place.mkdir(parents=True)
        (place / f"_spikeglx_ephysData_g0_t0.{name}.ap.meta").write_text(
            f"typeThis=imec\nimDatPrb_sn=1\n{PROBES[body['made_as']]}"
        )
    return folder
