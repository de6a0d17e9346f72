"""NWB files with the poses of all cameras of a session, by the extension `ndx-pose`."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ibl_dask.export.content import SOFTWARE, PosedCamera, missing_package, require_camera_times
from ibl_dask.store.atomic import writing_path
from ibl_dask.store.session_start import session_start

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ibl_dask.model.session import Session

_ORIGIN = "(0, 0) is the centre of the top left pixel of the frame as stored; x grows to the right, y downwards"
_LIKELIHOOD = "likelihood that the network gives the point, 0 to 1"
_NAMESPACE = uuid.UUID("2f5b3c0e-6d0b-5a55-9a3c-2c1f0b6f9d11")
"""Namespace of the identifiers of files: one session has one identifier, whenever it is exported."""
_COMPRESSION = {"compression": "gzip", "compression_opts": 4, "shuffle": True}


def write_nwb(path: Path, cameras: Sequence[PosedCamera], session: Session) -> None:
    """Write the poses of some cameras of a session.

    Each camera has a device, its video as an external file (by a path relative to that of the NWB file), a skeleton
    without edges, and a `PoseEstimation` in the processing module `behavior`. Times are those of the main clock.

    Parameters
    ----------
    path : Path
        The file.
    cameras : sequence of PosedCamera
        The cameras, with frame times.
    session : Session
        The session. Where its rig left no start, the start is midnight, and the description of the file notes it.

    Raises
    ------
    MissingFile
        If a camera has no frame times.
    MissingEnvironment
        If pynwb or ndx-pose is not installed.
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    for camera in cameras:
        require_camera_times(camera, "NWB")
    try:
        import h5py
        import ndx_pose  # noqa: F401  # registers its types
        from pynwb import NWBHDF5IO
    except ImportError as error:
        raise missing_package("NWB", "nwb", error) from error
    content = _content(path, cameras, session)
    # pynwb warns of names that do not end in .nwb, as temporary ones do, unless it is given an open file.
    with writing_path(path) as temporary, h5py.File(temporary, "w") as file, NWBHDF5IO(file=file, mode="w") as target:
        target.write(content)


def _content(path: Path, cameras: Sequence[PosedCamera], session: Session) -> Any:  # pynwb has no types
    """Return the file as pynwb holds it."""
    from ndx_pose import Skeletons
    from pynwb import NWBFile
    from pynwb.file import Subject

    start = session_start(session)
    note = "" if start else " The time of day at which it began is not known: midnight stands for it."
    lab = session.relative.parts[0] if len(session.relative.parts) > 3 else None
    file = NWBFile(
        session_description=f"Keypoints of the mouse in the videos of session {session.reference}.{note}",
        identifier=str(uuid.uuid5(_NAMESPACE, session.reference)),
        session_start_time=start or datetime.fromisoformat(session.date).replace(tzinfo=UTC),
        session_id=session.reference.replace("/", "_"),
        lab=lab,
        # Sex and age stand in the field's database: "U" and an age without bounds are how NWB has unknown ones.
        subject=Subject(subject_id=session.subject, species="Mus musculus", sex="U", age="P0D/", description="mouse"),
        keywords=["pose estimation", "mouse", "video"],
        source_script=f"ibl_dask {version('ibl_dask')}, ibl-dask export",
        source_script_file_name="ibl-dask",
    )
    behavior = file.create_processing_module("behavior", "behaviour of the mouse in the videos")
    skeletons = Skeletons()
    behavior.add(skeletons)
    for camera in cameras:
        _add_camera(file, behavior, skeletons, camera, path, session)
    return file


def _add_camera(
    file: Any, behavior: Any, skeletons: Any, camera: PosedCamera, path: Path, session: Session
) -> None:  # pynwb has no types
    """Add the poses of a camera to a file."""
    from ndx_pose import PoseEstimation, PoseEstimationSeries, Skeleton
    from pynwb import H5DataIO

    name = f"{camera.label.capitalize()}Camera"
    tag = f"{name}{SOFTWARE[camera.tracker]}"
    device = file.devices.get(name) or file.create_device(name, description=f"{camera.label} camera of the rig")
    video = file.acquisition.get(f"Video{name}") or _add_video(file, camera, device, path, session)
    skeleton = Skeleton(name=f"Skeleton{tag}", nodes=list(camera.keypoints.names))
    skeletons.add_skeletons(skeleton)
    times = require_camera_times(camera, "NWB") if video is None else video
    series = []
    for place, keypoint in enumerate(camera.keypoints.names):
        values = camera.keypoints.values[:, place]
        made = PoseEstimationSeries(
            name=keypoint,
            description=f"{keypoint} in the frames of the {camera.label} camera",
            data=H5DataIO(values[:, :2].copy(), **_COMPRESSION),
            unit="pixels",
            reference_frame=_ORIGIN,
            timestamps=times,
            confidence=H5DataIO(values[:, 2].copy(), **_COMPRESSION),
            confidence_definition=_LIKELIHOOD,
        )
        series.append(made)
        times = made if video is None else times
    behavior.add(
        PoseEstimation(
            name=f"PoseEstimation{tag}",
            pose_estimation_series=series,
            description=f"keypoints of the mouse in the video of the {camera.label} camera, from {camera.source}",
            device=device,
            scorer=camera.scorer,
            source_software=SOFTWARE[camera.tracker],
            skeleton=skeleton,
            source_video=video,
        )
    )


def _add_video(file: Any, camera: PosedCamera, device: Any, path: Path, session: Session) -> Any:  # pynwb has no types
    """Add the video of a camera as an external file, with the times of its frames; None where there is no video."""
    from pynwb.image import ImageSeries

    place = next(
        (root / camera.video for root in session.roots if camera.video and (root / camera.video).exists()), None
    )
    if place is None:
        return None
    video = ImageSeries(
        name=f"Video{camera.label.capitalize()}Camera",
        description=f"video of the {camera.label} camera",
        external_file=[os.path.relpath(place, path.parent)],
        format="external",
        starting_frame=[0],
        dimension=None if camera.frame_size_px is None else list(camera.frame_size_px),
        timestamps=camera.times_s,
        device=device,
    )
    file.add_acquisition(video)
    return video
