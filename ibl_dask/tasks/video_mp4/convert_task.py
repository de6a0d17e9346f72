"""Give videos and logs that labcams recorded the form and names of all others."""

from __future__ import annotations

from collections.abc import Mapping

from ibl_dask.model.description import Camera
from ibl_dask.model.forecast import EarlierWork, Rates, TaskForecast
from ibl_dask.model.signature import ExpectedDataset, Signature
from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.model.task import TaskSpec
from ibl_dask.store import alf
from ibl_dask.tasks.session_files import labcams_pattern
from ibl_dask.tasks.video_mp4 import convert_steps as convert
from ibl_dask.tasks.video_mp4.forecast import forecast_conversion
from ibl_dask.tasks.video_mp4.raw_video import find_raw_video
from ibl_dask.tasks.video_mp4.raw_video_task import RawVideoTask


class VideoConvert(RawVideoTask):
    """Copy the packets of videos that the rig compressed itself from AVI to MP4, and rename their camlogs.

    Nothing is encoded anew. With an output root, camlogs are copied there instead.

    Parameters
    ----------
    kwargs
        See `RawVideoTask`.
    """

    ram = 0.5

    @property
    def signature(self) -> Signature:
        names = [(c, labcams_pattern(c.label, part)) for c in self.described for part in ("avi", "camlog")]
        results = [(c, f"_iblrig_{c.label}Camera.raw", part) for c in self.described for part in ("mp4", "camlog")]
        return Signature(
            inputs=tuple(ExpectedDataset.input(name, camera.collection, False) for camera, name in names),
            outputs=tuple(
                ExpectedDataset.output(f"{name}.{part}", c.collection, part == "mp4") for c, name, part in results
            ),
        )

    def is_finished(self) -> bool:
        return not any(convert.is_wanted(self.workspace, camera) for camera in self.described)

    def steps(self, records: Mapping[StepKey, StepRecord]) -> list[Step]:
        out: list[Step] = []
        for camera in self.described:
            out.append(self._converting_step(camera))
            if self.raw_video != "keep":
                out.append(self._settling_step(camera, out[-1]))
        return out

    def forecast(self, rates: Rates, spec: TaskSpec, earlier: EarlierWork) -> TaskForecast:
        cameras = [forecast_conversion(self.workspace, camera) for camera in self.described]
        return TaskForecast.of_cameras(spec.name, cameras)

    def _converting_step(self, camera: Camera) -> Step:
        found = find_raw_video(self.workspace, camera)
        logs = convert.find_camlogs(self.workspace, camera)
        return convert.ConvertCamera(
            **self._common(camera),
            videos=[alf.identity(path) for path in (found.raw, found.compressed, *found.others)],
            logs=[alf.identity(path) for path in logs],
        )
