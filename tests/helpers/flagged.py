"""Small sessions as they arrive on a lab's server: settings, trials, stubs of videos, and the flag."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

DESCRIPTION = """\
version: 1.0.0
procedures: [Behavior training/tasks]
projects: [ibl_dask_project]
sync: {bpod: {collection: raw_task_data_00}}
devices:
  cameras: {left: {collection: raw_video_data, sync_label: audio}}
  microphone: {microphone: {collection: raw_task_data_00, sync_label: null}}
tasks:
  - trainingChoiceWorld: {collection: raw_task_data_00, sync_label: bpod}
"""


def flagged(
    subjects: Path,
    subject: str = "TST_001",
    date: str = "2026-11-20",
    number: str = "001",
    description: str | None = DESCRIPTION,
    protocol: str = "_iblrig_tasks_trainingChoiceWorld",
    age_s: float = 3600,
    **settings: object,
) -> Path:
    """Write a session and return its folder; its files are `age_s` old as far as a program may set that."""
    path = subjects / subject / date / number
    task = path / ("raw_task_data_00" if description else "raw_behavior_data")
    video = path / "raw_video_data"
    for folder in (task, video):
        folder.mkdir(parents=True)
    if description:
        (path / "_ibl_experiment.description.yaml").write_text(description)
    known = {
        "SUBJECT_NAME": subject, "SESSION_DATE": date, "SESSION_NUMBER": number, "IS_MOCK": False,
        "PYBPOD_BOARD": "_iblrig_cortexlab_behavior_0", "IBLRIG_VERSION": "5.0.0",
        "PYBPOD_CREATOR": ["test_user", "x"], "PYBPOD_PROTOCOL": protocol,
        "SESSION_DATETIME": f"{date}T12:15:18.145140",
    }  # fmt: skip
    (task / "_iblrig_taskSettings.raw.json").write_text(json.dumps({**known, **settings}))
    trials = [
        {"trial_num": n + 1, "ntrials_correct": n // 2, "trial_correct": bool(n % 2),
         "behavior_data": {
             "Bpod start timestamp": 1.5, "Trial start timestamp": 1.5 + 10 * n, "Trial end timestamp": 11.5 + 10 * n,
             "Events timestamps": {}, "States timestamps": {},
         }}
        for n in range(12)
    ]  # fmt: skip
    (task / "_iblrig_taskData.raw.jsonable").write_text("".join(json.dumps(trial) + "\n" for trial in trials))
    (video / "_iblrig_leftCamera.raw.avi").write_bytes(b"RIFF")
    (video / "_iblrig_leftCamera.timestamps.ssv").write_text("0 0\n")
    flag = path / "raw_session.flag"
    flag.touch()
    for file in [*path.rglob("*"), flag]:
        os.utime(file, (time.time() - age_s,) * 2)
    return path
