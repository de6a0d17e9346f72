"""Tasks that estimate the pose of the animal in the videos of cameras, with the networks that the site declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ibl_dask.errors import MissingEnvironment, UsageError
from ibl_dask.model.description import Camera
from ibl_dask.model.failure import Failure
from ibl_dask.model.forecast import EarlierWork, Rates, TaskForecast
from ibl_dask.model.session import Session
from ibl_dask.model.signature import ExpectedDataset, Signature
from ibl_dask.model.step import Resources, Step, StepKey, StepRecord
from ibl_dask.model.task import TaskSpec
from ibl_dask.model.verdict import rerun_mark
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.networks import ALF_NAMES, Estimator, NetworkSet
from ibl_dask.store.failures import failure_from
from ibl_dask.store.tables import require_parquet
from ibl_dask.store.verdicts import read_verdicts
from ibl_dask.tasks.index_video import IndexSteps, load_index
from ibl_dask.tasks.options import check_value
from ibl_dask.tasks.pose.camera_plan import MEMORY_GB, CameraPosePlan, choose_pose_chunks, fresh_networks
from ibl_dask.tasks.pose.forecast import forecast_pose
from ibl_dask.tasks.pose.members import CameraNetworks, require_engines
from ibl_dask.tasks.pose.motion_steps import has_region
from ibl_dask.tasks.pose.record import read_record, stored_networks
from ibl_dask.tasks.video_task import VideoTask
from ibl_dask.video.chunking import split_video
from ibl_dask.video.container.summary import ContainerSummary


class EstimatePose(VideoTask):
    """Keypoints of the animal in every frame of some cameras; subclasses differ in the estimator.

    Parameters
    ----------
    engines : mapping of str to EngineSettings, optional
        Engines of the site by name.
    networks : mapping of str to NetworkSet, optional
        Networks of each estimator.
    chunk_pixels : int, optional
        Pixels that one step decodes; by default those of `camera_plan`.

    Raises
    ------
    UsageError
        If networks of the estimator are not declared, or name unknown engines.
    """

    estimator: ClassVar[Estimator]
    """Pose estimator."""
    gpu = 1
    ram = MEMORY_GB
    io_charge = 100
    job_size = "large"
    optional_parents = frozenset({"VideoRegisterRaw", "VideoCompress", "VideoConvert"})

    def __init__(
        self,
        session_path: str | Path | Session,
        cameras: Sequence[str] | str | None = None,
        *,
        engines: Mapping[str, EngineSettings] | None = None,
        networks: Mapping[str, NetworkSet] | None = None,
        chunk_pixels: int | None = None,
        **kwargs: Any,  # see VideoTask
    ) -> None:
        super().__init__(session_path, cameras, **kwargs)
        check_value("chunk_pixels", chunk_pixels)
        self.chunk_pixels = chunk_pixels
        self.engines = dict(engines or {})
        declared = (networks or {}).get(self.estimator)
        if declared is None:
            raise UsageError(
                f"{self.name} has no networks",
                where=str(self.session.path),
                expected=f"networks: {{{self.estimator}: ...}} of the site profile",
                got=", ".join(networks or {}) or "none",
                do="declare engines and networks in the profile (docs/pose.md)",
            )
        require_engines(declared, self.engines)
        self.declared = declared

    @cached_property
    def _indexing(self) -> IndexSteps:
        return IndexSteps(self.session.reference, self.workspace, Resources(memory_gb=0.5))

    @property
    def attribute(self) -> str:
        """Return the attribute of its tables: dlc or lightningPose."""
        return ALF_NAMES[self.estimator]

    @property
    def resources(self) -> Resources:
        n_gpus = 1 if self.declared.device == "cuda" else 0
        return Resources(cpu=1, gpu=n_gpus, memory_gb=MEMORY_GB, is_estimate=True)

    @property
    def posed(self) -> tuple[Camera, ...]:
        """Return the cameras that there are networks for."""
        return tuple(camera for camera in self.described if self.declared.of_camera(camera.label))

    @property
    def plan_notes(self) -> tuple[str, ...]:
        without = [label for label in self.cameras if not self.declared.of_camera(label)]
        return (f"{self.name}: no network for {', '.join(without)} in the profile",) if without else ()

    @property
    def signature(self) -> Signature:
        labels = [camera.label for camera in self.posed]
        return Signature(
            inputs=tuple(
                ExpectedDataset.input(f"_iblrig_{camera.label}Camera.raw.mp4", camera.collection)
                for camera in self.posed
            ),
            outputs=(
                *(ExpectedDataset.output(f"_ibl_{label}Camera.{self.attribute}.pqt", "alf") for label in labels),
                *(
                    ExpectedDataset.output(name, "alf", self._has_region(label))
                    for label in labels
                    for name in (f"{label}Camera.ROIMotionEnergy.npy", f"{label}ROIMotionEnergy.position.npy")
                ),
            ),
        )

    def _mark(self, label: str) -> str:
        """Return the mark of the latest wish for another estimation; see `rerun_mark`.

        Raises
        ------
        CorruptOutput, FormatTooNew
            If the verdicts cannot be read.
        """
        return rerun_mark(read_verdicts(self.session), label, self.attribute)

    def _has_region(self, label: str) -> bool:
        """Return whether the keypoints of a camera define a region of motion energy, as its table shows."""
        names = [
            str(name)
            for network in stored_networks(self.workspace, label, self.attribute).values()
            for name in network.get("keypoints", ())
        ]
        return has_region(names, label)

    def unmet_requirement(self) -> Failure | None:
        try:
            require_parquet()
        except MissingEnvironment as error:
            return failure_from(error)
        return None

    def forget(self) -> None:
        for label in self.cameras:
            self.workspace.forget_pose(label, self.attribute)

    def first_steps(self) -> list[Step]:
        return [self._indexing.step(camera) for camera in self.posed]

    def steps(self, records: Mapping[StepKey, StepRecord]) -> list[Step]:
        plans = [self.camera_plan(camera, records) for camera in self.posed]
        return [step for plan in plans if plan is not None for step in plan.steps]

    def camera_plan(self, camera: Camera, records: Mapping[StepKey, StepRecord]) -> CameraPosePlan | None:
        """Return the plan of a camera's steps; None where its video could not be indexed.

        Parameters
        ----------
        camera : Camera
            The camera.
        records : mapping
            Records of the first steps.
        """
        video = self._indexing.result(camera, records)
        if video is None:
            return None
        label = camera.label
        networks = CameraNetworks(label, self.declared, self.engines, video.identity, self._mark(label))
        frame_index = load_index(self.workspace.index_file(label))
        outline_size = (len(frame_index), frame_index.width, frame_index.height)
        outline = ContainerSummary(*outline_size, frame_index.keyframes)
        known = None
        if not self.workspace.overwrite:
            known = read_record(self.workspace, label, self.attribute, video.identity)
        return CameraPosePlan(
            workspace=self.workspace,
            networks=networks,
            video=video.video,
            chunks=choose_pose_chunks(outline, self.chunk_pixels),
            motion_chunks=split_video(outline.keyframes, *outline_size, self.chunk_pixels),
            fresh=fresh_networks(networks, known),
            index=self._indexing.step(camera).key,
            resources=Resources(memory_gb=1.0),
        )

    def forecast(self, rates: Rates, spec: TaskSpec, earlier: EarlierWork) -> TaskForecast:
        cameras = [
            forecast_pose(
                self.workspace,
                camera,
                rates,
                CameraNetworks(camera.label, self.declared, self.engines, mark=self._mark(camera.label)),
                self.chunk_pixels,
            )
            for camera in self.posed
        ]
        found = TaskForecast.of_cameras(spec.name, cameras)
        return replace(found, gpu_s=found.core_s) if self.declared.device == "cuda" else found


class DLC(EstimatePose):
    """Keypoints by networks in the manner of DeepLabCut: x and y go through a median filter.

    Parameters
    ----------
    kwargs
        See `EstimatePose`.
    """

    estimator = "dlc"
    cpu = 4


class LightningPose(EstimatePose):
    """Keypoints by networks in the manner of Lightning Pose, ensembles included.

    Parameters
    ----------
    kwargs
        See `EstimatePose`.
    """

    estimator = "lightning_pose"
