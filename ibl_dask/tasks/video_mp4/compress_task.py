"""Compress raw videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ibl_dask.model.description import Camera
from ibl_dask.model.forecast import RUNNING, EarlierWork, Rates, TaskForecast
from ibl_dask.model.session import Session
from ibl_dask.model.signature import ExpectedDataset, Signature
from ibl_dask.model.step import Step, StepKey, StepRecord, fingerprint
from ibl_dask.model.task import TaskSpec
from ibl_dask.store import alf
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.options import check_value
from ibl_dask.tasks.video_mp4.compress_steps import EncodeChunk, KeepCompressed, PutInPlace
from ibl_dask.tasks.video_mp4.forecast import forecast_compression
from ibl_dask.tasks.video_mp4.raw_video import IndexRaw, RawVideo, find_raw_video
from ibl_dask.tasks.video_mp4.raw_video_task import RawVideoTask
from ibl_dask.tasks.video_task import MakeReducers
from ibl_dask.video.chunking import split_for_encoding
from ibl_dask.video.encoding.profiles import EncodingProfile, find_profile
from ibl_dask.video.reducers.camera_set import camera_reducers
from ibl_dask.video.reducers.reference_frame import reference_folder


class VideoCompress(RawVideoTask):
    """Compress raw AVI videos to MP4, prove the results, and put them in place.

    Compressed frames are measured on the way, so that the frame pass finds its results.

    Parameters
    ----------
    encoding : str, optional
        Name of an encoding profile; by default the field's: smaller files for sessions of a Bpod.
    raw_video : str
        Policy for a raw video once its copy is verified and recorded: `keep`, `trash` (a folder beside) or `delete`.
    encode_pixels : int, optional
        Pixels that one step compresses; by default those of the table in `ibl_dask.video.chunking`.
    reducers, reference_frames
        See `VideoSyncQc`.
    """

    ram = 1.0
    job_size = "large"

    def __init__(
        self,
        session_path: str | Path | Session,
        cameras: Sequence[str] | str | None = None,
        *,
        encoding: str | None = None,
        raw_video: str = "keep",
        encode_pixels: int | None = None,
        reducers: MakeReducers | None = None,
        reference_frames: str | Path | None = None,
        **kwargs: Any,  # see VideoTask
    ) -> None:
        super().__init__(session_path, cameras, raw_video=raw_video, **kwargs)
        check_value("encoding", encoding)
        check_value("encode_pixels", encode_pixels)
        self.encoding = encoding
        self.encode_pixels = encode_pixels
        self.reducers = reducers or partial(camera_reducers, reference_frames=reference_folder(reference_frames))
        self._found: dict[str, RawVideo] = {}
        self._indexing: dict[str, Step] = {}

    @cached_property
    def profile(self) -> EncodingProfile:
        """Return how videos are compressed."""
        return find_profile(self.encoding or ("ibl_bpod" if self.sync == "bpod" else "ibl"))

    @property
    def signature(self) -> Signature:
        names = [(camera, f"_iblrig_{camera.label}Camera.raw") for camera in self.described]
        return Signature(
            inputs=tuple(ExpectedDataset.input(f"{name}.*", camera.collection) for camera, name in names),
            outputs=tuple(ExpectedDataset.output(f"{name}.mp4", camera.collection) for camera, name in names),
        )

    def first_steps(self) -> list[Step]:
        return [
            self._index_step(camera, raw) for camera in self.described if (raw := self.to_compress(camera)) is not None
        ]

    def is_finished(self) -> bool:
        now = {camera: find_raw_video(self.workspace, camera) for camera in self.described}
        return all(self._raw_of(camera, found) is None for camera, found in now.items())

    def steps(self, records: Mapping[StepKey, StepRecord]) -> list[Step]:
        out: list[Step] = []
        for camera in self.described:
            raw = self.to_compress(camera)
            if raw is None:
                out.append(self._keeping_step(camera))
            elif records[self._index_step(camera, raw).key].is_ok:
                out += self._compressing_steps(camera, raw)
            else:
                continue
            if self.raw_video != "keep":
                out.append(self._settling_step(camera, out[-1]))
        return out

    def forecast(self, rates: Rates, spec: TaskSpec, earlier: EarlierWork) -> TaskForecast:
        forecast = partial(forecast_compression, profile=self.profile.name, encode_pixels=self.encode_pixels)
        cameras = [
            forecast(self.workspace, camera, rates, found=self._files(camera), raw=self.to_compress(camera))
            for camera in self.described
        ]
        found = TaskForecast.of_cameras(spec.name, cameras)
        return replace(found, measured_cameras=frozenset(c.label for c in cameras if c.why in RUNNING))

    def _files(self, camera: Camera) -> RawVideo:
        """Return the files as they were planned with: steps must stay the same while these change."""
        if camera.label not in self._found:
            self._found[camera.label] = find_raw_video(self.workspace, camera)
        return self._found[camera.label]

    def to_compress(self, camera: Camera) -> Path | None:
        return self._raw_of(camera, self._files(camera))

    def _raw_of(self, camera: Camera, found: RawVideo) -> Path | None:
        """Return the raw video that is to be compressed; None where nothing is to be done, or may be."""
        return found.raw if found.compressed is None or self.workspace.overwrite else None

    def _index_step(self, camera: Camera, raw: Path) -> Step:
        """Return the step as it was planned first: the raw video may be gone when it is asked for again."""
        if camera.label not in self._indexing:
            self._indexing[camera.label] = IndexRaw(**self._common(camera), video=raw, file=alf.identity(raw))
        return self._indexing[camera.label]

    def _compressing_steps(self, camera: Camera, raw: Path) -> list[Step]:
        from ibl_dask.video.decoder import decoder_build
        from ibl_dask.video.encoding.x264 import encoder_build

        index = self._index_step(camera, raw).key
        source = load_index(self.workspace.raw_index_file(camera.label))
        chunks = split_for_encoding(source.keyframes, len(source), source.width, source.height, self.encode_pixels)
        reducers = tuple(self.reducers(camera.label, len(source), source.width, source.height))
        build = encoder_build()
        compression = fingerprint(
            "compress",
            2,
            video=index.fingerprint,
            profile=self.profile.settings(),
            encoder=build,
            decoder=decoder_build(),
            borders=[chunk.start for chunk in chunks],
            reducers=[reducer.fingerprint() for reducer in reducers],
        )
        common = {**self._common(camera), "video": raw, "profile": self.profile, "compression": compression}
        encoding = [
            EncodeChunk(**common, index=index, frames=chunk, reducers=reducers, chunk=number)
            for number, chunk in enumerate(chunks)
        ]
        segments = tuple(step.key for step in encoding)
        return [*encoding, PutInPlace(**common, index=index, segments=segments, chunks=tuple(chunks), build=build)]

    def _keeping_step(self, camera: Camera) -> Step:
        found = self._files(camera)
        raw, compressed = alf.identity(found.raw), alf.identity(found.compressed)
        return KeepCompressed(**self._common(camera), raw=raw, compressed=compressed)
