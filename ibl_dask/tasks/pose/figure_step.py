"""Step that draws the figure of a session's keypoints; a part that is missing costs its panel alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import IblDaskError, MissingEnvironment
from ibl_dask.model.description import Camera
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.report.pose_content import PoseCamera, PoseContent, Trials, figure_frame
from ibl_dask.report.pose_figure import FILE_NAMES, pose_figure_png
from ibl_dask.store import alf
from ibl_dask.store.atomic import make_folder, writing
from ibl_dask.store.tables import read_table
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.pose.post_files import PoseFiles, licks_file, read_array
from ibl_dask.tasks.session_files import find_video

T = TypeVar("T")
SNAPSHOT = "snapshot"
"""Folder of figures in a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawPose(Step):
    """Draw the figure with ten panels, from what there is."""

    kind: ClassVar[str] = "figure"
    allow_failed: ClassVar[tuple[str, ...]] = ("after",)

    files: PoseFiles
    """Files of the session."""
    described: tuple[Camera, ...]
    """Cameras."""
    after: tuple[StepKey, ...]
    """Make the files that it shows."""
    inputs: object
    """Identities of further files; JSON."""

    def identity(self) -> Mapping[str, object]:
        return {"inputs": self.inputs, "parents": [key.fingerprint for key in self.after]}

    def run(self, upstream: Upstream) -> Result:
        reasons: dict[str, str] = {}
        content = PoseContent(
            self.files.workspace.session.reference,
            self.files.tracker,
            tuple(self._camera(camera, reasons) for camera in self.described),
            _tried("trials", self._trials, reasons),
            _tried("wheel", self._wheel, reasons),
            _tried("licks", self._licks, reasons),
            reasons,
        )
        try:
            image = pose_figure_png(content)
        except MissingEnvironment as error:
            return Result(notes=(f"no figure of the keypoints: {error}",))
        target = figure_file(self.files.workspace, self.files.tracker)
        make_folder(target.parent)
        with writing(target, len(image)) as file:
            file.write(image)
        notes = tuple(f"figure of the keypoints: {part}: {reason}" for part, reason in reasons.items())
        return Result(outputs=(target,), notes=notes)

    def _camera(self, camera: Camera, reasons: dict[str, str]) -> PoseCamera:
        label, files = camera.label, self.files
        energy, table = files.energy(label), files.features(label)
        return PoseCamera(
            label,
            _tried(label, lambda: files.read_keypoints(label).likely() if files.table(label) else None, reasons),
            _tried(label, lambda: files.read_times(label), reasons),
            _tried(label, lambda: _frame(files.workspace, camera), reasons),
            None if energy is None else _tried(label, lambda: read_array(energy), reasons),
            None if table is None else _tried(label, lambda: _smooth_pupil(table), reasons),
        )

    def _trials(self) -> Trials | None:
        return Trials.from_columns(self.files.read_trials())

    def _wheel(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        found = self.files.wheel()
        return None if found is None else (read_array(found[0]), read_array(found[1]))

    def _licks(self) -> NDArray[np.float64] | None:
        path = alf.latest(licks_file(self.files.workspace))
        return None if path is None else read_array(path)


def figure_file(workspace: Workspace, tracker: str) -> Path:
    """Return the path of the figure."""
    return workspace.session.outputs / SNAPSHOT / FILE_NAMES[tracker]


def _tried(part: str, read: Callable[[], T | None], reasons: dict[str, str]) -> T | None:
    """Return a part of the figure; None where it cannot be read, with the reason."""
    try:
        return read()
    except (IblDaskError, OSError) as error:
        reasons.setdefault(part, error.what if isinstance(error, IblDaskError) else str(error))
        return None


def _smooth_pupil(table: Path) -> NDArray[np.float64] | None:
    columns = read_table(table, ("pupilDiameter_smooth",))
    return np.asarray(columns["pupilDiameter_smooth"], np.float64) if columns else None


def _frame(workspace: Workspace, camera: Camera) -> NDArray[np.uint8] | None:
    """Return the frame that the traces are drawn on, luma; None without a video. (y, x)"""
    from ibl_dask.video.reader import FrameReader

    video = find_video(workspace, camera)
    if video is None:
        return None
    with FrameReader(video) as reader:
        number = figure_frame(len(reader.index), reader.index.fps)
        return np.asarray(reader.read(number, number + 1)[0], np.uint8)
