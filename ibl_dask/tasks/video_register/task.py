"""Task that lists the recordings of a session, for a database."""

from __future__ import annotations

from collections.abc import Mapping

from ibl_dask.model.description import Camera
from ibl_dask.model.forecast import EarlierWork, Rates, TaskForecast, Why
from ibl_dask.model.signature import ExpectedDataset, Signature
from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.model.task import TaskSpec
from ibl_dask.store import alf
from ibl_dask.tasks.session_files import labcams_pattern, video_pattern
from ibl_dask.tasks.video_register import steps as register
from ibl_dask.tasks.video_task import VideoTask

_NOTED = ("timestamps*", "GPIO.bin", "frame_counter.bin", "frameData.bin", "raw.camlog")
"""Ends of the names of a camera's own files about its frames."""


class VideoRegisterRaw(VideoTask):
    """List the raw files of each camera and the snapshots beside them; a camera without a clock of its own is an error.

    The list is `ibl_dask/registration.json`; nothing leaves the disk.
    """

    priority = 100
    ram = 0.2
    takes_options = False

    @property
    def signature(self) -> Signature:
        cameras = self.described
        folders = dict.fromkeys(camera.collection for camera in cameras)
        return Signature(
            outputs=(
                *(_clock(camera) for camera in cameras),
                *(
                    ExpectedDataset.output(name, camera.collection, False)
                    for camera in cameras
                    for name in (
                        *(f"_iblrig_{camera.label}Camera.{part}" for part in _NOTED),
                        *(video_pattern(camera.label, extension) for extension in ("avi", "mp4")),
                    )
                ),
                *(ExpectedDataset.output(register.WORKFLOWS, folder, False) for folder in folders),
            )
        )

    def steps(self, records: Mapping[StepKey, StepRecord]) -> list[Step]:
        cameras = [
            register.RegisterCamera(
                session=self.session.reference,
                camera=camera.label,
                resources=self.resources,
                workspace=self.workspace,
                described=camera,
                files=[alf.identity(path) for path in register.camera_files(self.workspace, camera)],
            )
            for camera in self.described
        ]
        listing = register.WriteRegistration(
            session=self.session.reference,
            resources=self.resources,
            workspace=self.workspace,
            cameras=self.described,
            registered=tuple(step.key for step in cameras),
        )
        return [*cameras, listing]

    def forecast(self, rates: Rates, spec: TaskSpec, earlier: EarlierWork) -> TaskForecast:
        _ = self.described  # a camera that the session does not have is an error here as in the run
        is_listed = self.workspace.registration_file.exists()
        why: Why = "listed anew" if is_listed else "missing output"
        return TaskForecast(spec.name, why, "lists what is there; takes no time")


def _clock(camera: Camera) -> ExpectedDataset:
    """Return the file with the camera's own clock: one of two, or the log where labcams recorded it."""
    own = (f"_iblrig_{camera.label}Camera.{kind}" for kind in ("frameData.bin", "timestamps*", "raw.camlog"))
    first, *others = (*own, labcams_pattern(camera.label, "camlog"))
    clock: ExpectedDataset = ExpectedDataset.output(first, camera.collection)
    for name in others:
        clock = clock | ExpectedDataset.output(name, camera.collection)
    return clock
