"""Base of the tasks that make an MP4 of each camera's raw video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from ibl_dask.errors import UsageError
from ibl_dask.model.description import Camera
from ibl_dask.model.session import Session
from ibl_dask.model.step import Step
from ibl_dask.tasks.options import check_value
from ibl_dask.tasks.video_mp4.raw_video_removal import RawPolicy, SettleRaw
from ibl_dask.tasks.video_task import VideoTask


class RawVideoTask(VideoTask):
    """Make an MP4 of each camera's raw video, and then keep, move or remove the raw one.

    Parameters
    ----------
    raw_video : str
        Policy for a raw video once its copy is verified and recorded: `keep`, `trash` (a folder beside) or `delete`.
    kwargs
        See `VideoTask`.

    Raises
    ------
    UsageError
        If there is no such policy, or raw videos should go where results go elsewhere.
    """

    priority = 90
    io_charge = 100

    def __init__(
        self,
        session_path: str | Path | Session,
        cameras: Sequence[str] | str | None = None,
        *,
        raw_video: str = "keep",
        **kwargs: Any,  # see VideoTask
    ) -> None:
        super().__init__(session_path, cameras, **kwargs)
        check_value("raw_video", raw_video)
        if raw_video != "keep" and self.session.outputs != self.session.path:
            raise UsageError(
                "raw videos stay untouched where results go elsewhere",
                where=str(self.session.path),
                expected="raw_video=keep with --output-root",
                got=f"raw_video={raw_video}",
                do="leave one of the two out",
            )
        self.raw_video: RawPolicy = cast(RawPolicy, raw_video)

    def forget(self) -> None:
        for label in self.cameras:
            self.workspace.forget_compressed(label)

    def _common(self, camera: Camera) -> dict[str, Any]:  # arguments of any step of `RawVideoStep`
        return {
            "session": self.session.reference,
            "camera": camera.label,
            "resources": self.resources,
            "workspace": self.workspace,
            "described": camera,
        }

    def _settling_step(self, camera: Camera, done: Step) -> Step:
        return SettleRaw(**self._common(camera), policy=self.raw_video, copied=done.key)
