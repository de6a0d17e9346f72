"""Time, measure and check cameras whose pulses a DAQ or a Bpod noted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import DescriptionError, TaskFailed, UsageError
from ibl_dask.model.choices import advice
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import LABELS, Camera, bpod_camera
from ibl_dask.model.forecast import EarlierWork, Rates, TaskForecast
from ibl_dask.model.places import require_inside
from ibl_dask.model.session import Session
from ibl_dask.model.signature import ExpectedDataset, Signature
from ibl_dask.model.step import Key, Resources, Step, StepRecord, fingerprint
from ibl_dask.model.task import TaskSpec
from ibl_dask.store import alf
from ibl_dask.store.frames import stored_fingerprints
from ibl_dask.tasks import index_video as index
from ibl_dask.tasks import session_files as inputs
from ibl_dask.tasks.options import check_value
from ibl_dask.tasks.run_step import walk
from ibl_dask.tasks.session_qc import CameraQc, SessionQc
from ibl_dask.tasks.task import VideoTask
from ibl_dask.tasks.video_sync import camera_qc as checks
from ibl_dask.tasks.video_sync import frame_pass as frames
from ibl_dask.tasks.video_sync import pulse_times as times
from ibl_dask.tasks.video_sync import wheel_times as wheel
from ibl_dask.tasks.video_sync.forecast import SyncDecisions, choose_chunks, forecast_camera
from ibl_dask.timing.alignment.clock_policy import BPOD
from ibl_dask.timing.clocks.bpod import TRIALS_FILE
from ibl_dask.video.container.index import FrameIndex
from ibl_dask.video.container.summary import ContainerSummary
from ibl_dask.video.reducers.camera_set import camera_reducers
from ibl_dask.video.reducers.motion_energy import MotionEnergy
from ibl_dask.video.reducers.protocol import Reducer
from ibl_dask.video.reducers.reference_frame import reference_folder


@dataclass(frozen=True, slots=True)
class Timing:
    """How a camera is timed."""

    function: Callable[..., inputs.Facts]
    """The step's function; also takes records, workspace and camera."""
    arguments: Mapping[str, Any]
    """What else it takes."""
    files: Mapping[str, Sequence[Path]]
    """Files of the main clock that the result depends on, by what they hold."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Other things that it depends on; JSON."""


class VideoSyncQc(VideoTask):
    """Frame times, per-frame numbers and checks of cameras; subclasses say which clock the times are on.

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
        reducers: Any = None,  # any callable of that form
        reference_frames: str | Path | None = None,
        **kwargs: Any,  # see VideoTask
    ) -> None:
        super().__init__(session_path, cameras, **kwargs)
        check_value("chunk_pixels", chunk_pixels)
        self.chunk_pixels = chunk_pixels
        self.reference_frames = reference_folder(reference_frames)
        self.reducers = reducers or partial(camera_reducers, reference_frames=self.reference_frames)
        self._indexing: dict[str, Step] = {}

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
        return [self._index_step(camera) for camera in self.described]

    def steps(self, records: Mapping[Key, StepRecord]) -> list[Step]:
        out: list[Step] = []
        judged: list[Step] = []
        for camera in self.described:
            indexing = self._index_step(camera)
            record = records[indexing.key]
            steps = self._camera_steps(camera, indexing, record) if record.is_ok else []
            mark = fingerprint("qc", 1, parents=[step.fingerprint for step in steps], index=indexing.fingerprint)
            check = Step(
                kind="qc",
                camera=camera.label,
                session=self.session.reference,
                fingerprint=mark,
                function=checks.check_camera,
                arguments={
                    "workspace": self.workspace,
                    "camera": camera,
                    "reference_frames": self.reference_frames,
                },
                needs=(indexing.key, *(s.key for s in steps if s.kind in ("wheel", "frames"))),
                tolerates=("index", "wheel", "frames"),
                resources=self.resources,
            )
            out += [*steps, check]
            judged.append(check)
        labels = tuple(self.cameras)
        publish = Step(
            kind="publish",
            camera="",
            session=self.session.reference,
            fingerprint=fingerprint("publish", 1, parents=[step.fingerprint for step in judged], cameras=labels),
            function=checks.publish_qc,
            arguments={"workspace": self.workspace, "cameras": labels},
            needs=tuple(step.key for step in judged),
            tolerates=("qc",),
            resources=self.resources,
        )
        return [*out, publish]

    def forecast(self, rates: Rates, spec: TaskSpec, earlier: EarlierWork) -> TaskForecast:
        decisions = SyncDecisions(self.reducers, self.marks, self.chunk_pixels)
        measured = earlier.measured_cameras
        cameras = [
            forecast_camera(self.workspace, camera, rates, decisions, is_measured_before=camera.label in measured)
            for camera in self.described
        ]
        return TaskForecast.of_cameras(spec.name, cameras)

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
            # Not what the wheel settled: that is no less true without the pixels, see `publish_without_pixels`.
            markers = [self.workspace.marker(f"times-{label}") for label in self.cameras]
            for made in (*markers, self.workspace.fronts_file):
                made.unlink(missing_ok=True)
        outputs = self.session.outputs
        with self.holding():
            first = walk(self.first_steps(), outputs, self._listen)
            steps = self.steps(first)
            timed_by_pulses = [step for step in steps if step.kind == "times"]
            wanted = [_without_pixels(step) for step in steps if step.kind == "wheel"]
            walk([*timed_by_pulses, *wanted], outputs, self._listen, first)
        timed = [step.camera for step in wanted if self.records[step.key].is_ok]
        files = [path for label in timed if (path := self.workspace.published_times(label)) is not None]
        return [np.load(path) for path in files], files

    def run_qc(self, camera_data: object = None, update: bool = True) -> SessionQc:
        """Check the cameras.

        Parameters
        ----------
        camera_data
            Kept for the calling convention: what `extract_camera` wrote is found again.
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
        import json

        with self.holding():
            self.run()
        published = [record for record in self.records.values() if record.key[0] == "publish" and record.is_ok]
        if not published:
            raise TaskFailed(
                f"{self.name} could not publish its checks",
                where=str(self.workspace.qc_file),
                expected="a record of checks",
                got="; ".join(failure.message for failure in self.failures) or str(self.state),
                do="see to this first, then run again",
            )
        found = json.loads(self.workspace.qc_file.read_text())["cameras"]
        return SessionQc({label: CameraQc.from_record(label, found[label]) for label in self.cameras if label in found})

    def plan_camera(
        self, camera: Camera, record: StepRecord
    ) -> tuple[tuple[Chunk, ...], tuple[Reducer, ...], tuple[str, ...]]:
        """Return the chunks of a camera, all its reducers, and the names of those that still must be computed."""
        value = record.value
        chunks = self.chunks(camera.label, index.load_index(self.workspace.index_file(camera.label)))
        reducers = tuple(self.reducers(camera.label, value["frames"], value["width"], value["height"]))
        store = self.workspace.frames_store(camera.label)
        stored = {} if self.workspace.overwrite else stored_fingerprints(store, value["identity"])
        fresh = tuple(r.name for r in reducers if stored.get(r.name) != r.fingerprint())
        return chunks, reducers, fresh

    def chunks(self, label: str, frame_index: FrameIndex) -> tuple[Chunk, ...]:
        """Return the chunks of a video: those that it was compressed in, where it was, so that they are measured."""
        outline = ContainerSummary(len(frame_index), frame_index.width, frame_index.height, frame_index.keyframes)
        return choose_chunks(self.workspace, label, outline, frame_index.identity(), self.chunk_pixels)

    def _index_step(self, camera: Camera) -> Step:
        """Return the step as it was planned first: its key must stay the same where the video changes meanwhile."""
        if camera.label not in self._indexing:
            self._indexing[camera.label] = self._new_index_step(camera)
        return self._indexing[camera.label]

    def _new_index_step(self, camera: Camera) -> Step:
        video = inputs.video_paths(self.workspace, camera)
        return Step(
            kind="index",
            camera=camera.label,
            session=self.session.reference,
            fingerprint=fingerprint("index", 1, camera=camera.label, video=alf.identities(video)),
            function=index.index_camera,
            arguments={"workspace": self.workspace, "camera": camera},
            resources=self.resources,
        )

    def _camera_steps(self, camera: Camera, indexing: Step, record: StepRecord) -> list[Step]:
        label = camera.label
        chunks, reducers, fresh = self.plan_camera(camera, record)
        video = record.value["identity"]
        step = partial(Step, camera=label, session=self.session.reference, resources=self.resources)
        how = self.timing(camera)
        timing = step(
            kind="times",
            fingerprint=self.timing_mark(camera, video, how),
            function=how.function,
            arguments={"workspace": self.workspace, "camera": camera, **how.arguments},
            needs=(indexing.key,),
            marker=self.workspace.marker(f"times-{label}"),
        )
        marks = {r.name: r.fingerprint() for r in reducers}
        new = tuple(r for r in reducers if r.name in fresh)
        passes = [
            step(
                kind="framepass",
                fingerprint=fingerprint("framepass", 1, video=video, chunk=[c.start, c.stop], reducers=marks),
                function=frames.pass_chunk,
                arguments={
                    "workspace": self.workspace,
                    "camera": label,
                    "video": Path(record.value["video"]),
                    "chunk": c,
                    "reducers": new,
                },
                needs=(indexing.key,),
                chunk=number,
            )
            for number, c in enumerate(chunks if new else ())
        ]
        settling = step(
            kind="wheel",
            needs=(indexing.key, timing.key, *(p.key for p in passes)),
            tolerates=("framepass",),
            marker=self.workspace.marker(f"wheel-{label}"),
            **self._settling(camera, timing, how, chunks, reducers, fresh),
        )
        merge = step(
            kind="frames",
            fingerprint=_merge_mark(video, reducers, settling.fingerprint),
            function=frames.merge_chunks,
            arguments={
                "workspace": self.workspace,
                "camera": label,
                "chunks": chunks,
                "reducers": reducers,
                "fresh": fresh,
            },
            needs=(indexing.key, settling.key, *(p.key for p in passes)),
            tolerates=("wheel",),
            marker=self.workspace.marker(f"frames-{label}"),
        )
        return [timing, *passes, settling, merge]

    def _settling(
        self,
        camera: Camera,
        timing: Step,
        how: Timing,
        chunks: Sequence[Chunk],
        reducers: Sequence[Reducer],
        fresh: Sequence[str],
    ) -> dict[str, Any]:
        """Return function, arguments and fingerprint of the step that settles a camera's times."""
        files = wheel.find_wheel(self.workspace, how.arguments)
        energy = _energy(reducers)
        return {
            "function": wheel.settle_times,
            "arguments": {
                "workspace": self.workspace,
                "camera": camera,
                "files": files,
                "chunks": chunks,
                "reducer": energy,
                "is_fresh": energy is not None and energy.name in fresh,
            },
            "fingerprint": self._settling_mark(files, energy, timing.fingerprint),
        }

    def _settling_mark(self, files: wheel.WheelFiles, energy: Reducer | None, timing: str) -> str:
        return fingerprint(
            "wheel",
            2,
            wheel=files.identities(self.workspace),
            energy=None if energy is None else energy.fingerprint(),
            parents=[timing],
        )

    def marks(self, camera: Camera, video: Mapping[str, Any], reducers: Sequence[Reducer]) -> dict[str, str]:
        """Return the fingerprints of the steps of a camera that leave a marker, by the names of these.

        Parameters
        ----------
        camera : Camera
            The camera.
        video : mapping
            Identity of its video.
        reducers : sequence of Reducer
            All its reducers.
        """
        how = self.timing(camera)
        timing = self.timing_mark(camera, video, how)
        settling = self._settling_mark(wheel.find_wheel(self.workspace, how.arguments), _energy(reducers), timing)
        merge = _merge_mark(video, reducers, settling)
        return {f"times-{camera.label}": timing, f"wheel-{camera.label}": settling, f"frames-{camera.label}": merge}

    def timing_mark(self, camera: Camera, video: Mapping[str, Any], how: Timing | None = None) -> str:
        """Return what changes with everything that the times of a camera depend on; `video` is its identity."""
        used = self._timing_inputs(camera, self.timing(camera) if how is None else how)
        return fingerprint("times", 3, camera=camera.label, video=video, inputs=used)

    def _timing_inputs(self, camera: Camera, how: Timing) -> dict[str, Any]:
        paths = {**inputs.camera_file_paths(self.workspace, camera), **how.files}
        named = {name: alf.identities(found) for name, found in paths.items()}
        return {**named, **how.settings, "sync_label": camera.sync_label, "nominal_hz": camera.fps}


def _energy(reducers: Sequence[Reducer]) -> MotionEnergy | None:
    """Return the reducer that measures the motion of the wheel."""
    return next((r for r in reducers if isinstance(r, MotionEnergy) and r.label == "wheel"), None)


def _merge_mark(video: Mapping[str, Any], reducers: Sequence[Reducer], settling: str) -> str:
    marks = {r.name: r.fingerprint() for r in reducers}
    return fingerprint("frames", 2, video=video, reducers=marks, parents=[settling])


def _without_pixels(settling: Step) -> Step:
    """Return the step that publishes times without the wheel, in place of one that settles them with it."""
    arguments = {name: settling.arguments[name] for name in ("workspace", "camera")}
    return replace(
        settling,
        function=wheel.publish_without_pixels,
        arguments={**arguments, "settled": (settling.marker, settling.fingerprint)},
        fingerprint=fingerprint("wheel without pixels", 1, parents=[settling.fingerprint]),
        needs=tuple(key for key in settling.needs if key[0].startswith("times-")),
        marker=None,
    )


class VideoSyncQcNidq(VideoSyncQc):
    """Frame times, per-frame numbers and checks of cameras whose pulses are on a NI-DAQ (SpikeGLX, or Timeline).

    A camera that labcams recorded is timed by its log (see `VideoSyncQcCamlog`).

    Parameters
    ----------
    recording : str, optional
        Which recording of the clock is meant, where there are several: its stem, such as `_spikeglx_ephysData_g0_t0`,
        or the name of one of its files. By default what the description says, `sync: nidq: recording:`.
    kwargs
        See `VideoSyncQc`.
    """

    def __init__(
        self,
        session_path: str | Path | Session,
        cameras: Sequence[str] | str | None = None,
        *,
        recording: str | None = None,
        **kwargs: Any,  # see VideoSyncQc
    ) -> None:
        super().__init__(session_path, cameras, **kwargs)
        if recording is not None:
            self.recording = require_inside(recording, "the recording of the sync", is_name=True)
        self._extraction: list[Step] | None = None

    @cached_property
    def recording(self) -> str | None:
        """Return which recording of the clock is meant; None where the description does not say."""
        described = self.session.description.sync
        named = None if described is None else described.others.get("recording")
        return None if named is None else require_inside(named, "the recording of the sync", is_name=True)

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), **({} if self.recording is None else {"recording": self.recording})}

    @property
    def sync_files(self) -> inputs.SyncFiles:
        """Return where the main clock's fronts are."""
        collection, namespace = self.sync_collection or "raw_ephys_data", self.sync_namespace or "spikeglx"
        return inputs.SyncFiles(collection, namespace, self.sync_ext, self.recording)

    @property
    def clock_inputs(self) -> tuple[ExpectedDataset, ...]:
        sync = self.sync_files
        first, second, third = (
            ExpectedDataset.input(f"_{sync.namespace}_sync.{part}.npy", sync.collection) for part in inputs.TRIPLET
        )
        recording = "_timeline_DAQdata.raw.npy" if sync.is_timeline else "*.nidq.*bin"
        described = ["_timeline_DAQdata.meta.json"] if sync.is_timeline else ["*.wiring.json", "*.nidq.meta"]
        return (
            (first & second & third) | ExpectedDataset.input(recording, sync.collection),
            *(ExpectedDataset.input(name, sync.collection, False) for name in described),
        )

    def first_steps(self) -> list[Step]:
        return [*super().first_steps(), *self._extract_steps()]

    def timing(self, camera: Camera) -> Timing:
        sync = self.sync_files
        logged = self.is_logged(camera)
        function = times.time_camera_by_camlog if logged else times.time_camera
        settings = {"fronts": inputs.FRONTS_VERSION, "logged": logged}
        return Timing(function, {"sync": sync}, inputs.sync_paths(self.workspace, sync), settings)

    def is_logged(self, camera: Camera) -> bool:
        """Return whether labcams recorded a camera."""
        return inputs.has_camlog_only(self.workspace, camera)

    def _extract_steps(self) -> list[Step]:
        """Return the step that reads the fronts from the recording, where nobody extracted them; none otherwise.

        Planned once: when it has run, it would not be planned again.
        """
        if self._extraction is None:
            sync = self.sync_files
            self._extraction = []
            if inputs.must_extract(self.workspace, sync):
                recording = inputs.recording_identity(inputs.sync_paths(self.workspace, sync))
                step = Step(
                    kind="sync",
                    camera="",
                    session=self.session.reference,
                    fingerprint=fingerprint("sync", inputs.FRONTS_VERSION, recording=recording),
                    function=inputs.extract_sync,
                    arguments={"workspace": self.workspace, "sync": sync},
                    resources=Resources(cpu=1, memory_gb=1),
                )
                self._extraction.append(step)
        return self._extraction


class VideoSyncQcCamlog(VideoSyncQcNidq):
    """Frame times, per-frame numbers and checks of cameras that labcams recorded: widefield rigs.

    Such a camera compresses its video itself, and instead of pin states leaves a log with its frame ids and its clock,
    by which its frames are tied to the pulses on the NI-DAQ.

    Parameters
    ----------
    kwargs
        See `VideoSyncQc`.
    """

    def is_logged(self, camera: Camera) -> bool:
        found = inputs.camera_file_paths(self.workspace, camera)
        return super().is_logged(camera) or not any(found.values())


class VideoSyncQcBpod(VideoSyncQc):
    """Frame times, per-frame numbers and checks of the one camera whose pulses are on a Bpod.

    Parameters
    ----------
    cameras : str or sequence of one str, optional
        The camera that is wired to port 1; by default see `bpod_camera`.
    collection : str, optional
        Folder of the trials. By default that of the description's sync, or the first of its protocols that has any:
        each protocol of a session has a Bpod clock of its own, and times are on one.
    protocol : str, optional
        Name of that protocol; kept for the calling convention.
    longest_extrapolation_s : float
        Frames that may lie before the first and after the last trial together, s; see
        `ibl_dask.timing.alignment.clock_policy.BPOD`.
    kwargs
        See `VideoSyncQc`.

    Raises
    ------
    UsageError
        If several cameras are asked for: port 1 carries the pulses of one.
    DescriptionError
        If none is, and the description does not say which of several it is.
    """

    def __init__(
        self,
        session_path: str | Path | Session,
        cameras: Sequence[str] | str | None = None,
        *,
        collection: str | None = None,
        protocol: str | None = None,
        longest_extrapolation_s: float = BPOD.outside_s,
        **kwargs: Any,  # see VideoSyncQc
    ) -> None:
        super().__init__(session_path, cameras, **kwargs)
        check_value("longest_extrapolation_s", longest_extrapolation_s)
        self.collection = collection and require_inside(collection, "collection", where=self.session.path)
        self.longest_extrapolation_s = longest_extrapolation_s
        if protocol:
            self.protocol = protocol

    @cached_property
    def protocol(self) -> str | None:
        """Return the name of the protocol whose Bpod times the camera; None where the description does not say."""
        found = self.session.description.protocol_in(self.trials.collection)
        return None if found is None else found.name

    def usual_labels(self) -> tuple[str, ...]:
        return (self._wired_camera(),)

    def checked_labels(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(labels) != 1:
            raise UsageError(
                "a Bpod has the pulses of one camera",
                where=str(self.session.path),
                expected="the camera that is wired to port 1",
                got=", ".join(labels) or "no camera",
                do="ask for one; the others cannot be timed by the Bpod",
            )
        return super().checked_labels(labels)

    def arguments(self) -> dict[str, Any]:
        given: dict[str, Any] = {} if self.collection is None else {"collection": self.collection}
        if self.longest_extrapolation_s != BPOD.outside_s:
            given["longest_extrapolation_s"] = self.longest_extrapolation_s
        return {**super().arguments(), **given}

    @property
    def trials(self) -> inputs.BpodFiles:
        """Return where the trials are."""
        protocols = [p.collection for p in self.session.description.protocols if p.collection]
        places = [self.collection] if self.collection else [self.sync_collection or "raw_behavior_data", *protocols]
        held = (place for place in places if alf.find_each(self.session, place, TRIALS_FILE))
        return inputs.BpodFiles(next(held, places[0]), TRIALS_FILE)

    @property
    def plan_notes(self) -> tuple[str, ...]:
        """Return a remark on the clock where each of several protocols has one of its own."""
        collections = {p.collection for p in self.session.description.protocols if p.collection}
        if len(collections) < 2:
            return ()
        return (
            f"the session ran {len(collections)} protocols, each with a Bpod clock of its own: "
            f"times are on that of {self.trials.collection}",
        )

    @property
    def clock_inputs(self) -> tuple[ExpectedDataset, ...]:
        return (ExpectedDataset.input(TRIALS_FILE, self.trials.collection),)

    def timing(self, camera: Camera) -> Timing:
        trials = self.trials
        longest = self.longest_extrapolation_s
        notes = self.plan_notes
        return Timing(
            times.time_camera_by_bpod,
            {"bpod": trials, "longest_extrapolation_s": longest, "notes": notes},
            {"trials": alf.find_each(self.session, trials.collection, trials.pattern)},
            {"collection": trials.collection, "longest_extrapolation_s": longest, "notes": list(notes)},
        )

    def _wired_camera(self) -> str:
        label = bpod_camera(self.session.description)
        if label is None:
            raise DescriptionError(
                "the description does not say which camera is wired to the Bpod",
                where=str(self.session.path),
                expected="one camera, or one with a sync_label, or a left camera",
                got=", ".join(c.label for c in self.session.description.cameras) or "no camera",
                do="set `sync_label: null` for those that are not wired to port 1, or name the camera (`cameras`)",
            )
        return label
