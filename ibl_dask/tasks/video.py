"""Camera tasks: register raw files; time, measure and check cameras whose pulses a DAQ recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import Camera
from ibl_dask.model.session import Session
from ibl_dask.model.step import Key, Resources, Step, StepRecord, fingerprint
from ibl_dask.model.task import Dataset, Signature
from ibl_dask.store import alf
from ibl_dask.store.frames import stored_fingerprints
from ibl_dask.tasks.steps import checks, frames, index, inputs, times
from ibl_dask.tasks.task import VideoTask
from ibl_dask.tasks.walk import walk
from ibl_dask.video.plan import chunk_frames, plan_chunks
from ibl_dask.video.reducers import Reducer
from ibl_dask.video.regions import camera_reducers

_RAW_PARTS = ("timestamps.ssv", "GPIO.bin", "frame_counter.bin", "frameData.bin")


class VideoRegisterRaw(VideoTask):
    """List the raw files of each camera; a camera without a clock of its own is an error."""

    priority: ClassVar[int] = 100
    resources: ClassVar[Resources] = Resources(cpu=1, memory_gb=0.2)

    @property
    def signature(self) -> Signature:
        return Signature(
            outputs=tuple(
                Dataset(f"_iblrig_{camera.label}Camera.{part}", camera.collection, required=False)
                for camera in self.described
                for part in _RAW_PARTS
            )
        )

    def steps(self, records: Mapping[Key, StepRecord]) -> list[Step]:
        return [
            Step(
                kind="register",
                camera=camera.label,
                session=self.session.reference,
                fingerprint=fingerprint("register", 1, camera=camera.label, files=self._identities(camera)),
                function=inputs.register_camera,
                arguments={"workspace": self.workspace, "camera": camera},
                resources=self.resources,
            )
            for camera in self.described
        ]

    def _identities(self, camera: Camera) -> list[Any]:
        return [alf.identity(path) for path in inputs.camera_file_paths(self.workspace, camera).values()]


class VideoSyncQcNidq(VideoTask):
    """Frame times, per-frame numbers and checks of cameras whose pulses are on a NI-DAQ.

    Parameters
    ----------
    chunk_pixels : int, optional
        Pixels that one step decodes; by default those of the table in `ibl_dask.video.plan`.
    reducers : callable, optional
        `(label, n_frames, width, height) -> reducers` of a frame pass; the camera's usual ones by default.
    """

    priority: ClassVar[int] = 40
    resources: ClassVar[Resources] = Resources(cpu=1, memory_gb=0.5)

    def __init__(
        self,
        session_path: str | Path | Session,
        cameras: Sequence[str] | str | None = None,
        *,
        chunk_pixels: int | None = None,
        reducers: Any = camera_reducers,  # any callable of that form
        **kwargs: Any,  # see VideoTask
    ) -> None:
        super().__init__(session_path, cameras, **kwargs)
        self._insist_on_known_labels()
        self.chunk_pixels = chunk_pixels
        self.reducers = reducers

    @property
    def sync_files(self) -> inputs.SyncFiles:
        """Return where the main clock's fronts are."""
        return inputs.SyncFiles(self.sync_collection or "raw_ephys_data", self.sync_namespace or "spikeglx")

    @property
    def signature(self) -> Signature:
        sync = self.sync_files
        inputs = [
            Dataset(f"_iblrig_{c.label}Camera.{part}", c.collection, required=part == "raw.mp4")
            for c in self.described
            for part in ("raw.mp4", *_RAW_PARTS)
        ]
        inputs += [
            Dataset(f"_{sync.namespace}_sync.{part}.npy", sync.collection)
            for part in ("times", "channels", "polarities")
        ]
        inputs.append(Dataset(f"_{sync.namespace}_*.wiring.json", sync.collection, required=False))
        return Signature(
            inputs=tuple(inputs),
            outputs=tuple(Dataset(f"_ibl_{c.label}Camera.times.npy", "alf") for c in self.described),
        )

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
                arguments={"workspace": self.workspace, "camera": camera, "sync": self.sync_files},
                needs=(indexing.key, *(s.key for s in steps if s.kind in ("times", "frames"))),
                tolerates=("index", "times", "frames"),
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
        """
        self.workspace.check_writable()
        outputs = self.session.outputs
        first = walk(self.first_steps(), outputs, self._listen)
        wanted = [step for step in self.steps(first) if step.kind == "times"]
        walk(wanted, outputs, self._listen, first)
        timed = [step.camera for step in wanted if self.records[step.key].is_ok]
        files = [path for label in timed if (path := self.workspace.published_times(label)) is not None]
        return [np.load(path) for path in files], files

    def run_qc(self, camera_data: object = None, update: bool = True) -> dict[str, Any]:
        """Check the cameras; return `{label: record}`.

        Parameters
        ----------
        camera_data
            Kept for the calling convention: what `extract_camera` wrote is found again.
        update : bool
            Kept for the calling convention: publishing to a database is not this task's work.
        """
        import json

        self.run()
        content: dict[str, Any] = json.loads(self.workspace.qc_file.read_text())
        return dict(content["cameras"])

    def plan_camera(
        self, camera: Camera, record: StepRecord
    ) -> tuple[tuple[Chunk, ...], tuple[Reducer, ...], tuple[str, ...]]:
        """Return the chunks of a camera, all its reducers, and the names of those that still must be computed."""
        value = record.value
        size = chunk_frames(value["frames"], value["width"], value["height"], self.chunk_pixels)
        keyframes = index.load_index(self.workspace.index_file(camera.label)).keyframes
        chunks = plan_chunks(keyframes, value["frames"], size)
        reducers = tuple(self.reducers(camera.label, value["frames"], value["width"], value["height"]))
        stored = stored_fingerprints(self.workspace.frames_store(camera.label), value["identity"])
        fresh = tuple(r.name for r in reducers if stored.get(r.name) != r.fingerprint())
        return chunks, reducers, fresh

    def _index_step(self, camera: Camera) -> Step:
        video = inputs.find_video(self.workspace, camera)
        return Step(
            kind="index",
            camera=camera.label,
            session=self.session.reference,
            fingerprint=fingerprint("index", 1, camera=camera.label, video=alf.identity(video)),
            function=index.index_camera,
            arguments={"workspace": self.workspace, "camera": camera},
            resources=self.resources,
        )

    def _camera_steps(self, camera: Camera, indexing: Step, record: StepRecord) -> list[Step]:
        label = camera.label
        chunks, reducers, fresh = self.plan_camera(camera, record)
        video = record.value["identity"]
        step = partial(Step, camera=label, session=self.session.reference, resources=self.resources)
        timing = step(
            kind="times",
            fingerprint=fingerprint("times", 1, camera=label, video=video, inputs=self._timing_inputs(camera)),
            function=times.time_camera,
            arguments={"workspace": self.workspace, "camera": camera, "sync": self.sync_files},
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
        merge = step(
            kind="frames",
            fingerprint=fingerprint("frames", 1, video=video, reducers=marks, parents=[timing.fingerprint]),
            function=frames.merge_chunks,
            arguments={
                "workspace": self.workspace,
                "camera": label,
                "chunks": chunks,
                "reducers": reducers,
                "fresh": fresh,
            },
            needs=(timing.key, *(p.key for p in passes)),
            tolerates=("times",),
            marker=self.workspace.marker(f"frames-{label}"),
        )
        return [timing, *passes, merge]

    def _timing_inputs(self, camera: Camera) -> dict[str, Any]:
        paths = inputs.camera_file_paths(self.workspace, camera) | inputs.sync_paths(self.workspace, self.sync_files)
        return {name: alf.identity(path) for name, path in paths.items()} | {"sync_label": camera.sync_label}
