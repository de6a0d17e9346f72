"""Step that cuts a short clip of a camera with its keypoints drawn on the frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ibl_dask.errors import IblDaskError
from ibl_dask.model.description import Camera
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, Upstream
from ibl_dask.store.atomic import writing_path
from ibl_dask.tasks.pose.post_files import PoseFiles
from ibl_dask.tasks.session_files import find_video

CLIP_S = 5.0
"""Duration of a clip, s: long enough to see points jump, and small enough for a report that holds it."""
CLIP_WIDTH_PX = 480
"""Width of a clip, px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawPreview(Step):
    """Cut the clip from the middle of the video; where that cannot be done, the result notes why."""

    kind: ClassVar[str] = "preview"

    files: PoseFiles
    """Files of the session."""
    described: Camera
    """The camera."""
    inputs: object
    """Identities of keypoints and video; JSON."""

    def identity(self) -> Mapping[str, object]:
        return {"inputs": self.inputs, "tracker": self.files.tracker, "clip": [CLIP_S, CLIP_WIDTH_PX]}

    def run(self, upstream: Upstream) -> Result:
        try:
            return self._cut()
        except IblDaskError as error:
            return Result(notes=(f"no preview of the keypoints: {error}",))

    def _cut(self) -> Result:
        # Not at the top: plans import no FFmpeg.
        from ibl_dask.video.container.index import index_video
        from ibl_dask.video.preview import preview_range, write_preview

        workspace, label = self.files.workspace, self.camera
        video = find_video(workspace, self.described)
        if video is None:
            return Result(notes=("no preview of the keypoints: there is no video",))
        index, keypoints = index_video(video), self.files.read_keypoints(label).likely()
        frames = preview_range(len(index), float(index.rate or 60), CLIP_S)
        target = workspace.pose_preview(label, self.files.tracker)
        with writing_path(target) as temporary:
            n_lost = write_preview(
                video, index, temporary, keypoints.names, keypoints.values[:, :, :2], frames, CLIP_WIDTH_PX
            )
        return Result(outputs=(target,), facts={"frames": frames[1] - frames[0], "lost": n_lost})
