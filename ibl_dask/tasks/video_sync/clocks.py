"""Tasks that time cameras on the clock of a NI-DAQ, by the logs of labcams, and on the clock of a Bpod."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ibl_dask.errors import DescriptionError, UsageError
from ibl_dask.model.description import Camera, bpod_camera
from ibl_dask.model.places import require_inside
from ibl_dask.model.session import Session
from ibl_dask.model.signature import ExpectedDataset
from ibl_dask.model.step import Step
from ibl_dask.store import alf
from ibl_dask.tasks.options import check_value
from ibl_dask.tasks.session_files import (
    FRONTS_VERSION,
    TRIPLET,
    BpodFiles,
    ExtractSync,
    SyncFiles,
    camera_file_paths,
    has_camlog_only,
    must_extract,
    recording_identity,
    sync_paths,
)
from ibl_dask.tasks.video_sync.pulse_times import TimeByBpod, TimeByCamlog, TimeByDaq
from ibl_dask.tasks.video_sync.task import VideoSyncQc
from ibl_dask.tasks.video_sync.timing_route import Timing
from ibl_dask.timing.alignment.clock_policy import BPOD
from ibl_dask.timing.clocks.bpod import TRIALS_FILE


class VideoSyncQcNidq(VideoSyncQc):
    """Frame times, per-frame numbers and checks of cameras whose pulses are on a NI-DAQ (SpikeGLX, or Timeline).

    A camera that labcams recorded is timed by its log (see `VideoSyncQcCamlog`).

    Parameters
    ----------
    recording : str, optional
        Recording of the clock, where there are several: its stem, such as `_spikeglx_ephysData_g0_t0`,
        or the name of one of its files. By default that of the description, `sync: nidq: recording:`.
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
        """Return the name of the clock's recording; None where the description has none."""
        described = self.session.description.sync
        named = None if described is None else described.others.get("recording")
        return None if named is None else require_inside(named, "the recording of the sync", is_name=True)

    def arguments(self) -> dict[str, object]:
        return {**super().arguments(), **({} if self.recording is None else {"recording": self.recording})}

    @property
    def sync_files(self) -> SyncFiles:
        """Return where the main clock's fronts are."""
        collection, namespace = self.sync_collection or "raw_ephys_data", self.sync_namespace or "spikeglx"
        return SyncFiles(collection, namespace, self.sync_ext, self.recording)

    @property
    def clock_inputs(self) -> tuple[ExpectedDataset, ...]:
        sync = self.sync_files
        first, second, third = (
            ExpectedDataset.input(f"_{sync.namespace}_sync.{part}.npy", sync.collection) for part in TRIPLET
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
        sync, logged = self.sync_files, self.is_logged(camera)
        settings = {"fronts": FRONTS_VERSION, "logged": logged}
        step = partial(TimeByCamlog if logged else TimeByDaq, sync=sync)
        return Timing(step, sync, sync_paths(self.workspace, sync), settings)

    def is_logged(self, camera: Camera) -> bool:
        """Return whether labcams recorded a camera."""
        return has_camlog_only(self.workspace, camera)

    def _extract_steps(self) -> list[Step]:
        """Return the step that reads the fronts from the recording, unless they are extracted already.

        Planned once: when it has run, it would not be planned again.
        """
        if self._extraction is None:
            sync = self.sync_files
            self._extraction = []
            if must_extract(self.workspace, sync):
                step = ExtractSync(
                    session=self.session.reference,
                    workspace=self.workspace,
                    sync=sync,
                    recording=recording_identity(sync_paths(self.workspace, sync)),
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
        found = camera_file_paths(self.workspace, camera)
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
        If none is, and the description leaves open which of several it is.
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
        """Return the name of the protocol whose Bpod times the camera; None where the description has none."""
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

    def arguments(self) -> dict[str, object]:
        given: dict[str, object] = {} if self.collection is None else {"collection": self.collection}
        if self.longest_extrapolation_s != BPOD.outside_s:
            given["longest_extrapolation_s"] = self.longest_extrapolation_s
        return {**super().arguments(), **given}

    @property
    def trials(self) -> BpodFiles:
        """Return where the trials are."""
        protocols = [p.collection for p in self.session.description.protocols if p.collection]
        places = [self.collection] if self.collection else [self.sync_collection or "raw_behavior_data", *protocols]
        held = (place for place in places if alf.find_each(self.session, place, TRIALS_FILE))
        return BpodFiles(next(held, places[0]), TRIALS_FILE)

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
            partial(TimeByBpod, bpod=trials, longest_extrapolation_s=longest, clock_notes=notes),
            trials,
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
