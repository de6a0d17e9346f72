"""List what a session recorded, for a database to take up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ibl_dask.model.step import Key, Resources, Step, StepRecord, fingerprint
from ibl_dask.model.task import Dataset, Signature
from ibl_dask.store import alf
from ibl_dask.tasks.steps import register
from ibl_dask.tasks.steps.inputs import CAMERA_FILES, video_pattern
from ibl_dask.tasks.task import VideoTask


class VideoRegisterRaw(VideoTask):
    """List the raw files of each camera and the snapshots beside them; a camera without a clock of its own is an error.

    The list is `ibl_dask/registration.json`; nothing leaves the disk.
    """

    priority: ClassVar[int] = 100
    resources: ClassVar[Resources] = Resources(cpu=1, memory_gb=0.2)

    @property
    def signature(self) -> Signature:
        named = [
            (camera.collection, name)
            for camera in self.described
            for name in (
                *(f"_iblrig_{camera.label}Camera.{part}" for part in CAMERA_FILES.values()),
                *(video_pattern(camera.label, extension) for extension in ("avi", "mp4")),
            )
        ]
        return Signature(outputs=tuple(Dataset(name, collection, required=False) for collection, name in named))

    def steps(self, records: Mapping[Key, StepRecord]) -> list[Step]:
        cameras = [
            Step(
                kind="register",
                camera=camera.label,
                session=self.session.reference,
                fingerprint=fingerprint(
                    "register",
                    2,
                    camera=camera.label,
                    files=[alf.identity(path) for path in register.camera_files(self.workspace, camera)],
                ),
                function=register.register_camera,
                arguments={"workspace": self.workspace, "camera": camera},
                resources=self.resources,
            )
            for camera in self.described
        ]
        listing = Step(
            kind="registration",
            camera="",
            session=self.session.reference,
            fingerprint=fingerprint("registration", 1, parents=[step.fingerprint for step in cameras]),
            function=register.write_registration,
            arguments={"workspace": self.workspace, "cameras": self.described},
            needs=tuple(step.key for step in cameras),
            tolerates=("register",),
            resources=self.resources,
        )
        return [*cameras, listing]
