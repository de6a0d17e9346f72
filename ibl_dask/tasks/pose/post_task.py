"""Tasks after pose estimation: features, licks, checks and a figure, from keypoints and frame times, on CPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from ibl_dask.errors import IblDaskError, MissingEnvironment
from ibl_dask.model.description import Camera
from ibl_dask.model.failure import Failure
from ibl_dask.model.forecast import CameraForecast, EarlierWork, Rates, TaskForecast
from ibl_dask.model.places import require_inside
from ibl_dask.model.session import Session
from ibl_dask.model.signature import ExpectedDataset, Signature
from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.model.task import TaskSpec
from ibl_dask.model.verdict import Verdict, current_verdict
from ibl_dask.pose.features import Tracker
from ibl_dask.pose.networks import ALF_NAMES, NetworkSet
from ibl_dask.store import alf
from ibl_dask.store.failures import failure_from
from ibl_dask.store.marker import marked_fingerprint
from ibl_dask.store.tables import require_parquet
from ibl_dask.store.verdicts import read_verdicts
from ibl_dask.tasks.camera_forecast import outline_or_problem
from ibl_dask.tasks.pose.figure_step import DrawPose
from ibl_dask.tasks.pose.post_files import ALF, TRIAL_ARRAYS, TRIALS, WHEEL, PoseFiles
from ibl_dask.tasks.pose.post_steps import DescribePose, PublishLicks, PublishPoseQc, has_features, has_licks
from ibl_dask.tasks.pose.preview_step import DrawPreview
from ibl_dask.tasks.session_files import find_video
from ibl_dask.tasks.video_task import VideoTask


class DescribePoses(VideoTask):
    """Features, licks, checks and a figure of the keypoints of some cameras; subclasses differ in the tracker.

    Parameters
    ----------
    trials_collection : str, optional
        Folder of trials and wheel; `alf` by default.
    networks : mapping of str to NetworkSet, optional
        Networks of the site by estimator: a camera that they leave out, and that has no table, is left out here.

    Notes
    -----
    Neither pixels nor networks are needed, so a session that was timed anew costs no GPU. Trials and wheel are for the
    figure alone: where their task fails, or waits for its environment, the rest is made without.
    """

    tracker: ClassVar[Tracker]
    """Estimator whose tables are read."""
    optional_parents = frozenset(f"ChoiceWorldTrials{clock}" for clock in ("Bpod", "Nidq", "Timeline"))
    io_charge = 90
    ram = 1.0

    def __init__(
        self,
        session_path: str | Path | Session,
        cameras: Sequence[str] | str | None = None,
        *,
        trials_collection: str | None = None,
        networks: Mapping[str, NetworkSet] | None = None,
        **kwargs: Any,  # see VideoTask
    ) -> None:
        super().__init__(session_path, cameras, **kwargs)
        folder = trials_collection or ALF
        self.trials_collection = require_inside(folder, "trials_collection", where=self.session.path)
        estimator = next(name for name, attribute in ALF_NAMES.items() if attribute == self.tracker)
        self.declared = (networks or {}).get(estimator)

    def arguments(self) -> dict[str, object]:
        return {**super().arguments(), "trials_collection": self.trials_collection}

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels of the cameras that have, or should have, keypoints, without those that are excluded."""
        excluded = {verdict.camera for verdict in self.excluded}
        labels = tuple(label for label in self.cameras if label not in excluded)
        if self.declared is None:
            return labels
        files, declared = self.files, self.declared
        return tuple(label for label in labels if declared.of_camera(label) or files.table(label) is not None)

    @property
    def excluded(self) -> tuple[Verdict, ...]:
        """Return the verdicts by which cameras are left out; none where the verdicts cannot be read."""
        try:
            verdicts = read_verdicts(self.session)
        except IblDaskError:  # raised where steps are planned
            return ()
        found = (current_verdict(verdicts, label, self.tracker) for label in self.cameras)
        return tuple(verdict for verdict in found if verdict is not None and verdict.decision == "exclude")

    @property
    def plan_notes(self) -> tuple[str, ...]:
        return tuple(f"{self.name} leaves out {verdict}" for verdict in self.excluded)

    @property
    def shown(self) -> tuple[Camera, ...]:
        """Return these cameras."""
        labels = self.labels
        return tuple(camera for camera in self.described if camera.label in labels)

    @property
    def files(self) -> PoseFiles:
        """Return the files of its session."""
        return PoseFiles(self.workspace, self.tracker, self.trials_collection)

    @property
    def signature(self) -> Signature:
        files, labels = self.files, self.labels
        names = {label: files.names(label) for label in labels}
        read = ExpectedDataset.input
        return Signature(
            inputs=(
                *(read(f"_ibl_{label}Camera.{self.tracker}.pqt", ALF) for label in labels),
                *(read(f"_ibl_{label}Camera.times.npy", ALF) for label in labels),
                *(read(f"{label}Camera.ROIMotionEnergy.npy", ALF, False) for label in labels),
                *(read(name, self.trials_collection, False) for name in (TRIALS, *TRIAL_ARRAYS, *WHEEL)),
            ),
            outputs=(
                *(
                    ExpectedDataset.output(f"_ibl_{label}Camera.features.pqt", ALF, has_features(names[label], label))
                    for label in labels
                ),
                ExpectedDataset.output("licks.times.npy", ALF, any(has_licks(names[label], label) for label in labels)),
            ),
        )

    def unmet_requirement(self) -> Failure | None:
        try:
            require_parquet()
        except MissingEnvironment as error:
            return failure_from(error)
        return None

    def forget(self) -> None:
        for step in self._marked():
            if step.marker is not None:
                step.marker.unlink(missing_ok=True)

    def steps(self, records: Mapping[StepKey, StepRecord]) -> list[Step]:
        read_verdicts(self.session)  # raises where an exclusion may be lost
        marked = self._marked()
        publish = PublishPoseQc(
            **self._common(),
            files=self.files,
            cameras=self.labels,
            described=tuple(step.key for step in marked if isinstance(step, DescribePose)),
        )
        return [*marked, publish]

    def _marked(self) -> list[Step]:
        """Return the steps that leave a marker, for the files as they are now."""
        describing = [self._describing(camera) for camera in self.shown]
        licking = self._licking()
        before = [*describing, *licking]
        return [*before, self._drawing(before), *self._previewing()]

    def _describing(self, camera: Camera) -> DescribePose:
        files, label = self.files, camera.label
        return DescribePose(
            **self._common(label),
            marker=self.workspace.marker(f"{self.tracker}_features-{label}"),
            files=files,
            inputs=self._inputs(files.table(label), files.times(label), *files.trials()),
            frame_size_px=self._frame_size(camera),
        )

    def _previewing(self) -> list[DrawPreview]:
        steps = []
        for camera in self.shown:
            table, video = self.files.table(camera.label), self._video(camera)
            if table is None or video is None:
                continue
            step = DrawPreview(
                **self._common(camera.label),
                marker=self.workspace.marker(f"{self.tracker}_preview-{camera.label}"),
                files=self.files,
                described=camera,
                inputs=self._inputs(table, video),
            )
            steps.append(step)
        return steps

    def _licking(self) -> list[PublishLicks]:
        files = self.files
        cameras = tuple(label for label in self.labels if has_licks(files.names(label), label))
        if not cameras:
            return []
        read = [path for label in cameras for path in (files.table(label), files.times(label))]
        step = PublishLicks(
            **self._common(),
            marker=self.workspace.marker(f"{self.tracker}_licks"),
            files=files,
            cameras=cameras,
            inputs=self._inputs(*read),
        )
        return [step]

    def _drawing(self, before: Sequence[Step]) -> DrawPose:
        files = self.files
        further = [*(files.energy(label) for label in self.labels), *files.trials(), *(files.wheel() or ())]
        return DrawPose(
            **self._common(),
            marker=self.workspace.marker(f"{self.tracker}_figure"),
            files=files,
            described=self.shown,
            after=tuple(step.key for step in before),
            inputs=[*self._inputs(*further), find_spec("matplotlib") is not None],
        )

    def forecast(self, rates: Rates, spec: TaskSpec, earlier: EarlierWork) -> TaskForecast:
        read_verdicts(self.session)
        steps = self._marked()
        cameras = [self._forecast_camera(step) for step in steps if isinstance(step, DescribePose)]
        found = TaskForecast.of_cameras(spec.name, cameras)
        if found.runs or found.fails:
            return found
        if all(self._is_marked(step) for step in steps) and self.workspace.qc_file.exists():
            unless = f", unless {', '.join(earlier.parents)} leaves something new" if earlier.parents else ""
            return replace(found, detail=found.detail + unless)
        return replace(found, why="missing output", detail="licks, checks or figure to make")

    def _forecast_camera(self, step: DescribePose) -> CameraForecast:
        label, table = step.camera, self.files.table(step.camera)
        if table is None:
            return CameraForecast(label, "missing output", "features to make of keypoints that are not there yet")
        if self.workspace.overwrite:
            return CameraForecast(label, "forced", "features and checks to make")
        if not self._is_marked(step):
            return CameraForecast(label, "missing output", "features and checks to make")
        return CameraForecast(label, "nothing to do", "described already")

    def _is_marked(self, step: Step) -> bool:
        return step.marker is not None and (marked_fingerprint(step.marker, self.session.outputs) == step.fingerprint)

    def _inputs(self, *paths: Path | None) -> list[object]:
        return [None if path is None else alf.identity(path) for path in paths]

    def _frame_size(self, camera: Camera) -> tuple[int, int] | None:
        """Return width and height of a camera's frames; None if its video cannot tell."""
        video = self._video(camera)
        outline = "" if video is None else outline_or_problem(video)
        return None if isinstance(outline, str) else (outline.width, outline.height)

    def _video(self, camera: Camera) -> Path | None:
        """Return the video of a camera; None if there is none, or several that differ."""
        try:
            return find_video(self.workspace, camera)
        except IblDaskError:
            return None

    def _common(self, camera: str = "") -> dict[str, Any]:  # arguments of any step
        return {"session": self.session.reference, "camera": camera, "resources": self.resources}


class EphysPostDLC(DescribePoses):
    """Features, licks, checks and figure of the keypoints of DeepLabCut.

    Parameters
    ----------
    kwargs
        See `DescribePoses`.
    """

    tracker = "dlc"


class PostLP(DescribePoses):
    """Features, licks, checks and figure of the keypoints of Lightning Pose.

    Parameters
    ----------
    kwargs
        See `DescribePoses`.
    """

    tracker = "lightningPose"
