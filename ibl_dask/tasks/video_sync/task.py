"""Task that times, measures and checks cameras whose pulses a main clock recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import TaskFailed, UsageError
from ibl_dask.model.choices import advice
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import LABELS, Camera
from ibl_dask.model.forecast import EarlierWork, Rates, TaskForecast
from ibl_dask.model.result import CamerasJudged
from ibl_dask.model.session import Session
from ibl_dask.model.signature import ExpectedDataset, Signature
from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.model.task import TaskSpec
from ibl_dask.store.frames import stored_fingerprints
from ibl_dask.tasks.index_video import IndexSteps, load_index
from ibl_dask.tasks.options import check_value
from ibl_dask.tasks.qc_file import require_qc
from ibl_dask.tasks.run_step import walk
from ibl_dask.tasks.session_qc import SessionQc
from ibl_dask.tasks.video_sync.camera_plan import CameraPlan
from ibl_dask.tasks.video_sync.camera_qc import CheckCamera, PublishQc
from ibl_dask.tasks.video_sync.forecast import SyncDecisions, choose_chunks, forecast_camera
from ibl_dask.tasks.video_sync.timing_route import Timing
from ibl_dask.tasks.video_task import MakeReducers, VideoTask
from ibl_dask.video.container.index import FrameIndex
from ibl_dask.video.container.summary import ContainerSummary
from ibl_dask.video.reducers.camera_set import camera_reducers
from ibl_dask.video.reducers.protocol import Reducer
from ibl_dask.video.reducers.reference_frame import reference_folder


class VideoSyncQc(VideoTask):
    """Frame times, per-frame numbers and checks of cameras; subclasses differ in the clock.

    Parameters
    ----------
    chunk_pixels : int, optional
        Pixels that one step decodes; by default those of the table in `ibl_dask.video.chunking`.
    reducers : callable, optional
        `(label, n_frames, width, height) -> reducers` of a frame pass; the camera's usual ones by default.
    reference_frames : path, optional
        Folder with `frames_{label}.npy` of well-placed cameras, for the checks of position and focus; by default that
        of an installed `ibllib`.
    """

    priority = 40
    ram = 0.5
    optional_parents = frozenset({"VideoRegisterRaw", "VideoCompress", "VideoConvert", "SyncPulses", "EphysSyncPulses"})

    def __init__(
        self,
        session_path: str | Path | Session,
        cameras: Sequence[str] | str | None = None,
        *,
        chunk_pixels: int | None = None,
        reducers: MakeReducers | None = None,
        reference_frames: str | Path | None = None,
        **kwargs: Any,  # see VideoTask
    ) -> None:
        super().__init__(session_path, cameras, **kwargs)
        check_value("chunk_pixels", chunk_pixels)
        self.chunk_pixels = chunk_pixels
        self.reference_frames = reference_folder(reference_frames)
        self.reducers = reducers or partial(camera_reducers, reference_frames=self.reference_frames)

    @cached_property
    def _indexing(self) -> IndexSteps:
        return IndexSteps(self.session.reference, self.workspace, self.resources)

    def checked_labels(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [label for label in labels if label not in LABELS]
        if unknown:
            raise UsageError(
                f"{self.name} cannot time these cameras",
                where=str(self.session.path),
                expected=", ".join(LABELS),
                got=", ".join(unknown),
                do=f"{advice(unknown[0], LABELS)}; or leave them out: they are registered all the same",
            )
        return labels

    @property
    def clock_inputs(self) -> tuple[ExpectedDataset, ...]:
        """Return the files of the main clock."""
        raise NotImplementedError

    def timing(self, camera: Camera) -> Timing:
        """Return how a camera is timed."""
        raise NotImplementedError

    @property
    def signature(self) -> Signature:
        raw = [
            ExpectedDataset.input(f"_iblrig_{c.label}Camera.{part}", c.collection, part == "raw.mp4")
            for c in self.described
            for part in ("raw.mp4", "timestamps*", "GPIO.bin", "frame_counter.bin", "frameData.bin", "raw.camlog")
        ]
        wheel = [ExpectedDataset.input(f"*wheel.{part}.npy", "alf", False) for part in ("position", "timestamps")]
        description = ExpectedDataset.input("*experiment.description*", None, False)
        return Signature(
            inputs=(*raw, *self.clock_inputs, *wheel, description),
            outputs=tuple(ExpectedDataset.output(f"_ibl_{c.label}Camera.times.npy", "alf") for c in self.described),
        )

    def forget(self) -> None:
        for label in self.cameras:
            self.workspace.forget_measured(label)

    def first_steps(self) -> list[Step]:
        return [self._indexing.step(camera) for camera in self.described]

    def steps(self, records: Mapping[StepKey, StepRecord]) -> list[Step]:
        out: list[Step] = []
        checks: list[CheckCamera] = []
        for camera in self.described:
            plan = self.camera_plan(camera, records)
            steps = [] if plan is None else plan.steps
            check = CheckCamera(
                session=self.session.reference,
                camera=camera.label,
                resources=self.resources,
                workspace=self.workspace,
                described=camera,
                reference_frames=self.reference_frames,
                index=self._indexing.step(camera).key,
                wheel=None if plan is None else plan.wheel.key,
                merge=None if plan is None else plan.merge.key,
                parents=tuple(step.fingerprint for step in steps),
            )
            out += [*steps, check]
            checks.append(check)
        publish = PublishQc(
            session=self.session.reference,
            resources=self.resources,
            workspace=self.workspace,
            cameras=tuple(self.cameras),
            checks=tuple(check.key for check in checks),
        )
        return [*out, publish]

    def forecast(self, rates: Rates, spec: TaskSpec, earlier: EarlierWork) -> TaskForecast:
        decisions = SyncDecisions(self.reducers, self.marker_fingerprints, self.chunk_pixels)
        measured = earlier.measured_cameras
        cameras = [
            forecast_camera(self.workspace, camera, rates, decisions, is_measured_before=camera.label in measured)
            for camera in self.described
        ]
        return TaskForecast.of_cameras(spec.name, cameras)

    def camera_plan(self, camera: Camera, records: Mapping[StepKey, StepRecord]) -> CameraPlan | None:
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
        reducers = tuple(self.reducers(label, video.frames, video.width, video.height))
        store = self.workspace.frames_store(label)
        stored = {} if self.workspace.overwrite else stored_fingerprints(store, video.identity)
        return CameraPlan(
            workspace=self.workspace,
            described=camera,
            route=self.timing(camera),
            resources=self.resources,
            index=self._indexing.step(camera).key,
            video_identity=video.identity,
            reducers=reducers,
            video=video.video,
            chunks=self.chunks(label, load_index(self.workspace.index_file(label))),
            fresh=tuple(r.name for r in reducers if stored.get(r.name) != r.fingerprint()),
        )

    def marker_fingerprints(
        self, camera: Camera, video: Mapping[str, object], reducers: Sequence[Reducer]
    ) -> dict[str, str]:
        """Return the fingerprints of the steps of a camera that leave a marker, by the names of the markers.

        Parameters
        ----------
        camera : Camera
            The camera.
        video : mapping
            Identity of its video.
        reducers : sequence of Reducer
            All its reducers.
        """
        plan = CameraPlan(
            workspace=self.workspace,
            described=camera,
            route=self.timing(camera),
            resources=self.resources,
            index=StepKey("index", self.session.reference, "", 0),
            video_identity=video,
            reducers=tuple(reducers),
        )
        return plan.fingerprints

    def extract_camera(self, save: bool = True) -> tuple[list[NDArray[np.float64]], list[Path]]:
        """Time the cameras without looking at a pixel.

        Parameters
        ----------
        save : bool
            Kept for the calling convention; times are always written, and found again if nothing changed.

        Returns
        -------
        times, files
            Frame times of each camera that could be timed, and the files that hold them.

        Raises
        ------
        SessionLocked
            If another run holds the session.
        """
        self.workspace.check_writable()
        if self.workspace.overwrite:
            # Times that the wheel settled stay: they hold without the pixels as well, see `PublishWithoutPixels`.
            markers = [self.workspace.marker(f"times-{label}") for label in self.cameras]
            for made in (*markers, self.workspace.fronts_file):
                made.unlink(missing_ok=True)
        outputs = self.session.outputs
        with self.holding():
            log = self.start_log(is_echoed=True)
            first = walk(self.first_steps(), outputs, self._listen, log=log)
            plans = [plan for camera in self.described if (plan := self.camera_plan(camera, first)) is not None]
            wanted = [plan.without_pixels() for plan in plans]
            walk([*(plan.times for plan in plans), *wanted], outputs, self._listen, first, log)
        timed = [step.camera for step in wanted if self.records[step.key].is_ok]
        files = [path for label in timed if (path := self.workspace.published_times(label)) is not None]
        return [np.load(path) for path in files], files

    def run_qc(self, camera_data: object = None, update: bool = True) -> SessionQc:
        """Check the cameras.

        Parameters
        ----------
        camera_data
            Kept for the calling convention: times of `extract_camera` are found on disk.
        update : bool
            Kept for the calling convention: publishing to a database is not this task's work.

        Returns
        -------
        SessionQc
            The checks of each camera by its label.

        Raises
        ------
        TaskFailed
            If no checks could be published.
        """
        with self.holding():
            self.run()
        if not any(isinstance(record.result, CamerasJudged) for record in self.records.values()):
            raise TaskFailed(
                f"{self.name} could not publish its checks",
                where=str(self.workspace.qc_file),
                expected="a record of checks",
                got="; ".join(failure.message for failure in self.failures) or str(self.state),
                do="see to this first, then run again",
            )
        found = require_qc(self.workspace)["cameras"]
        return SessionQc.from_record({label: found[label] for label in self.cameras if label in found})

    def chunks(self, label: str, frame_index: FrameIndex) -> tuple[Chunk, ...]:
        """Return the chunks of a video: those that it was compressed in, where it was, so that they are measured."""
        outline = ContainerSummary(len(frame_index), frame_index.width, frame_index.height, frame_index.keyframes)
        return choose_chunks(self.workspace, label, outline, frame_index.identity(), self.chunk_pixels)
