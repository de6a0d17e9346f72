"""Tasks of the cameras: registering, compressing or converting, timing and checking, pose."""

from __future__ import annotations

from collections.abc import Sequence

from ibl_dask.model.description import LABELS, Camera, ExperimentDescription, Problem, bpod_camera
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.devices.behaviour import Trials
from ibl_dask.pipeline.devices.sync import Clock
from ibl_dask.tasks.catalogue import field_task

POSE_LABELS = ("left", "right", "body")
"""Cameras that there are networks for."""

_POSE = {"dlc": ("DLC", "PostDLC", "EphysPostDLC"), "lightning_pose": ("LightningPose", "PostLP", "PostLP")}
"""Estimator -> its task, the task after it and the class of that."""


def plan_video(
    description: ExperimentDescription, clock: Clock, trials: Trials | None, pose: Sequence[str] | None = None
) -> tuple[list[TaskSpec], list[Problem]]:
    """Return the tasks of the cameras, and the parts that are left out.

    Parameters
    ----------
    description, clock, trials
        Description of the session, its clock, and the trials for figures of poses.
    pose : sequence of str, optional
        Pose estimators; by default those that the description asks for, else DLC where the main clock is not a Bpod.
    """
    if not description.cameras:
        return [], []
    specs: list[TaskSpec] = []
    problems: list[Problem] = []
    converted = [camera for camera in description.cameras if camera.compressed]
    recorded = [camera for camera in description.cameras if not camera.compressed]
    if converted:
        specs.append(field_task("VideoConvert", "VideoConvert", _arguments(converted)))
    # Registering names files, so it comes after those that rename some.
    every = _arguments(description.cameras)
    specs.append(field_task("VideoRegisterRaw", "VideoRegisterRaw", every, specs[:1]))
    if recorded:
        arguments = {**_arguments(recorded), **clock.arguments}
        specs.append(field_task("VideoCompress", "VideoCompress", arguments))
    made = [spec for spec in specs if spec.name in ("VideoCompress", "VideoConvert")]
    timing, untimed = _timing(description, clock, made)
    problems += untimed
    specs += [timing] if timing is not None else []
    for name in dict.fromkeys(_wanted(description, clock, pose)):
        planned, wrong = _pose_specs(name, description, made, timing, trials)
        specs += planned
        problems += wrong
    return specs, problems


def _wanted(description: ExperimentDescription, clock: Clock, pose: Sequence[str] | None) -> Sequence[str]:
    """Return the pose estimators to plan: those of the caller, else of the description, else the usual one."""
    if pose is not None:
        return pose
    if description.pose is not None:
        return description.pose
    return () if clock.kind == "bpod" else ("dlc",)


def _arguments(cameras: Sequence[Camera]) -> dict[str, object]:
    """Return the arguments of a task on cameras; if their folders differ, the task reads them from the description."""
    folders = {camera.collection for camera in cameras}
    place = {"device_collection": folders.pop()} if len(folders) == 1 else {}
    return {"cameras": [camera.label for camera in cameras], **place}


def _timing(
    description: ExperimentDescription, clock: Clock, made: list[TaskSpec]
) -> tuple[TaskSpec | None, list[Problem]]:
    """Return the task that times and checks cameras, or None, and the reasons for cameras without times."""
    known = [camera for camera in description.cameras if camera.label in LABELS]
    problems = [
        Problem(f"cameras.{camera.label}", "it is registered only: no route to time it is known")
        for camera in description.cameras
        if camera not in known
    ]
    if not known:
        return None, problems
    if clock.kind == "nidq":
        # Cameras that compress their videos themselves are those of widefield rigs, which labcams records.
        cls = "VideoSyncQcCamlog" if any(camera.compressed for camera in known) else "VideoSyncQcNidq"
        arguments = {**_arguments(known), **clock.arguments}
        return field_task("VideoSyncQC_nidq", cls, arguments, [*made, clock.pulses]), problems
    if clock.kind != "bpod":
        kind = clock.kind or "not described"
        text = f"no frame times: the main clock is {kind}, only nidq and bpod are supported so far"
        return None, [*problems, Problem("cameras", text)]
    label = bpod_camera(description)
    if label is None:
        text = (
            f"no frame times: the Bpod holds the pulses of one camera, and of {', '.join(c.label for c in known)} the "
            "description does not say which; set `sync_label: null` for those that are not wired to its port 1"
        )
        return None, [*problems, Problem("cameras", text)]
    others = [camera.label for camera in known if camera.label != label]
    if others:
        text = f"they are registered only: the Bpod holds the pulses of one camera, taken to be {label}"
        problems.append(Problem(f"cameras {', '.join(others)}", text))
    arguments = {**_arguments([c for c in known if c.label == label]), **clock.arguments}
    return field_task("VideoSyncQC_bpod", "VideoSyncQcBpod", arguments, made), problems


def _pose_specs(
    name: str, description: ExperimentDescription, made: list[TaskSpec], timing: TaskSpec | None, trials: Trials | None
) -> tuple[list[TaskSpec], list[Problem]]:
    """Return the tasks of one pose estimator, and the parts that are left out."""
    if name not in _POSE:
        return [], [Problem("pose", f"there is no pose estimator {name}, only {', '.join(_POSE)}")]
    cameras = [camera for camera in description.cameras if camera.label in POSE_LABELS]
    if not cameras:
        return [], [Problem("pose", f"no camera has a network: there are some for {', '.join(POSE_LABELS)}")]
    estimate, follow, cls = _POSE[name]
    specs = [field_task(estimate, estimate, _arguments(cameras), made)]
    timed = () if timing is None else timing.arguments["cameras"]
    labels = [camera.label for camera in cameras if camera.label in timed]
    if not labels:
        return specs, [Problem("pose", f"{follow} is not planned: it needs frame times")]
    place = "alf" if trials is None else trials.collection
    parents = [specs[0], timing, None if trials is None else trials.task]
    specs.append(field_task(follow, cls, {"cameras": labels, "trials_collection": place}, parents))
    return specs, []
