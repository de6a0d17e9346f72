"""Tasks on the cameras of a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ibl_dask.model.description import Camera
from ibl_dask.model.places import require_inside
from ibl_dask.model.session import Session
from ibl_dask.tasks.dynamic_task import DynamicTask
from ibl_dask.tasks.session_qc import SessionQc
from ibl_dask.video.reducers.protocol import Reducer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MakeReducers = Callable[[str, int, int, int], Sequence[Reducer]]
"""Returns the reducers of a camera, from its label, the number of frames, and their width and height in pixels."""


class VideoTask(DynamicTask):
    """A task on some cameras of a session.

    Parameters
    ----------
    cameras : sequence of str, optional
        Labels; by default those of the description.
    device_collection : str, optional
        Folder of the raw files; by default each camera's own in the description.
    kwargs
        See `DynamicTask`.
    """

    takes_options: ClassVar[bool] = True
    """Options of a run reach the constructor; for tasks of this package."""

    def __init__(
        self,
        session_path: str | Path | Session,
        cameras: Sequence[str] | str | None = None,
        *,
        device_collection: str | None = None,
        **kwargs: Any,  # see Task
    ) -> None:
        super().__init__(session_path, **kwargs)
        if device_collection is not None:
            device_collection = require_inside(device_collection, "device_collection", where=self.session.path)
        self.device_collection = device_collection
        if cameras is not None:
            labels = [cameras] if isinstance(cameras, str) else cameras
            self.cameras = self.checked_labels(tuple(str(label).lower() for label in labels))

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        """Return the labels of its cameras."""
        return self.checked_labels(self.usual_labels())

    def usual_labels(self) -> tuple[str, ...]:
        """Return the default cameras: those of the description."""
        return tuple(camera.label for camera in self.session.description.cameras)

    def checked_labels(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return labels if the task can work on such cameras; without looking at the session."""
        return labels

    @property
    def described(self) -> tuple[Camera, ...]:
        """Return the cameras as the rig was set to record them."""
        return tuple(self._camera(label) for label in self.cameras)

    def arguments(self) -> dict[str, object]:
        extra = {} if self.device_collection is None else {"device_collection": self.device_collection}
        return {**super().arguments(), "cameras": list(self.cameras), **extra}

    def extract_camera(self, save: bool = True) -> tuple[list[NDArray[np.float64]], list[Path]]:
        """Return the frame times of each camera, s, and the files that hold them: none, where a subclass has no own."""
        return [], []

    def run_qc(self, camera_data: object = None, update: bool = True) -> SessionQc:
        """Return the checks of each camera: none, where a subclass has no own."""
        return SessionQc({})

    def _camera(self, label: str) -> Camera:
        camera = self.session.description.camera(label)
        return camera if self.device_collection is None else replace(camera, collection=self.device_collection)
