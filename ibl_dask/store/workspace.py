"""Paths of the files of a session: results, scratch, markers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.errors import NotWritable
from ibl_dask.model.places import below
from ibl_dask.store.alf import latest
from ibl_dask.store.atomic import make_folder, readable_folder, require_writable, write_text
from ibl_dask.store.work_folder import SCRATCH_VARIABLE, WORK_FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.model.description import Camera
    from ibl_dask.model.session import Session

SCRATCH_NOTE = "session.json"
"""Note in a scratch folder of the session that it belongs to."""
SCRATCH_FOLDER = "scratch"
LOGS = "logs"
"""Name of the folder of the logs of tasks."""
_SHARD_FRAMES = 1_000_000
_NAMES = r"(compression\.json|pulse_times\.npz|timing\.npz|frames\.zarr|fronts\.npz)"
_OLDER = re.compile(rf"(.+Camera|sync)\.{_NAMES}")
_NEWER = re.compile(rf"(.+)-{_NAMES}")
"""Names of the package's own files in older versions, and now. Names with two dots are ALF datasets, so programs that
load datasets by their object would load the package's files as well."""


def older_name(path: Path) -> Path | None:
    """Return the name of a file in older versions; None if it is unchanged."""
    match = _NEWER.fullmatch(path.name)
    return None if match is None else path.with_name(f"{match[1]}.{match[2]}")


def default_work_dir(session: Session) -> Path:
    """Return `$IBL_DASK_SCRATCH`, else a folder beside the folders of the subjects."""
    scratch = os.environ.get(SCRATCH_VARIABLE)
    if scratch:
        return Path(scratch).expanduser().absolute()
    return session.outputs.parents[2] / WORK_FOLDER


def scratch_name(path: Path, outputs: Path) -> str:
    """Return the name of the scratch folder of a session.

    Parameters
    ----------
    path, outputs
        The session folder, and that of its results.
    """
    digest = hashlib.sha256(f"{path}\n{outputs}".encode()).hexdigest()[:8]
    return f"{'_'.join(path.parts[-3:])}-{digest}"


@dataclass(frozen=True)
class Workspace:
    """Paths of one session: results beside its data (or under the output root), scratch in the work folder."""

    session: Session
    """The session."""
    work_dir: Path
    """Folder for scratch and journals of the run."""
    overwrite: bool = False
    """Recompute everything, and replace published ALF files that change instead of adding a revision."""

    @property
    def scratch(self) -> Path:
        """Return the scratch folder of this session, which is removed when its results are complete."""
        return self.work_dir / SCRATCH_FOLDER / scratch_name(self.session.path, self.session.outputs)

    def open_scratch(self) -> None:
        """Create the scratch folder, with a note of its session, by which it can be removed once nobody needs it."""
        make_folder(self.scratch)
        note = self.scratch / SCRATCH_NOTE
        if note.exists():
            return
        with contextlib.suppress(OSError):  # a full disk is met, and waited for, by the steps
            write_text(note, json.dumps({"session": str(self.session.path), "outputs": str(self.session.outputs)}))

    def _own(self, name: str) -> Path:
        """Return the path of one of the package's files: its older name if only that exists."""
        path = below(self.session.own, name)
        older = older_name(path)
        return older if older is not None and older.exists() and readable_folder(path) is None else path

    def rename_older(self) -> None:
        """Rename files of an older version to their current names. For the holder of the session.

        Markers refer to the older names and become invalid: their steps run again, on the measurements of the store.
        """
        own = self.session.own
        for path in sorted(own.iterdir()) if own.is_dir() else ():
            match = _OLDER.fullmatch(path.name)
            if match is not None and not (target := own / f"{match[1]}-{match[2]}").exists():
                path.rename(target)

    def index_file(self, camera: str) -> Path:
        """Return the path of the cached frame index of a camera's video."""
        return below(self.scratch, f"{camera}-index.npz")

    def chunk_file(self, camera: str, chunk: Chunk) -> Path:
        """Return the path of the frame pass of a chunk."""
        return self._parts(camera, "chunks") / _chunk_path(chunk)

    def pose_file(self, camera: str, attribute: str, chunk: Chunk) -> Path:
        """Return the path of the keypoints of a chunk; the attribute is that of the pose table."""
        return self._parts(camera, attribute) / _chunk_path(chunk)

    def pose_table(self, camera: str, attribute: str) -> Path:
        """Return the path of the ALF file of a camera's keypoints, without a revision."""
        return below(self.session.outputs / "alf", f"_ibl_{camera}Camera.{attribute}.pqt")

    def pose_record(self, camera: str, attribute: str) -> Path:
        """Return the path of the record of how the keypoints of a camera were made."""
        return self._own(f"{camera}Camera-{attribute}.json")

    def pose_preview(self, camera: str, attribute: str) -> Path:
        """Return the path of the clip of a camera with its keypoints."""
        return self._own(f"{camera}Camera-{attribute}_preview.mp4")

    def raw_index_file(self, camera: str) -> Path:
        """Return the path of the cached frame index of a raw video that is compressed."""
        return below(self.scratch, f"{camera}-raw-index.npz")

    def segment_file(self, camera: str, chunk: Chunk) -> Path:
        """Return the path of the compressed segment of a chunk."""
        return self._parts(camera, "segments") / _chunk_path(chunk)

    def _parts(self, camera: str, kind: str) -> Path:
        return below(self.scratch, f"{camera}-{kind}")

    def with_pass(self, camera: str, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Return the chunks that have a file of their frame pass, whatever it holds."""
        return _with_file(self._parts(camera, "chunks"), chunks)

    def with_pose(self, camera: str, attribute: str, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Return the chunks that have a file of their keypoints, whatever it holds."""
        return _with_file(self._parts(camera, attribute), chunks)

    def with_segment(self, camera: str, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Return the chunks that have a compressed segment, whatever it holds."""
        return _with_file(self._parts(camera, "segments"), chunks)

    def video_file(self, camera: Camera) -> Path:
        """Return the path of the compressed video of a camera."""
        return below(self.session.outputs, camera.collection, f"_iblrig_{camera.label}Camera.raw.mp4")

    def compression_file(self, camera: str) -> Path:
        """Return the path of the compression record of a camera."""
        return self._own(f"{camera}Camera-compression.json")

    def qc_part(self, camera: str) -> Path:
        """Return the path of the checks of one camera, before they are combined."""
        return below(self.scratch, f"{camera}-qc.json")

    def times_file(self, camera: str) -> Path:
        """Return the path of the ALF file of frame times, without a revision."""
        return below(self.session.outputs / "alf", f"_ibl_{camera}Camera.times.npy")

    def published_times(self, camera: str) -> Path | None:
        """Return the newest revision of the frame times; None if they are missing."""
        return latest(self.times_file(camera))

    def pulse_times_file(self, camera: str) -> Path:
        """Return the path of the frame times from pulses alone, before the check against the wheel."""
        return self._own(f"{camera}Camera-pulse_times.npz")

    def timing_file(self, camera: str) -> Path:
        """Return the path of the record of how frame times were obtained."""
        return self._own(f"{camera}Camera-timing.npz")

    def frames_store(self, camera: str) -> Path:
        """Return the path of the per-frame store."""
        return self._own(f"{camera}Camera-frames.zarr")

    def marker(self, step: str) -> Path:
        """Return the path of the completion marker of a step."""
        return below(self.session.own / "done", f"{step}.json")

    def content_note(self, camera: str, video: Path) -> Path:
        """Return the path of the note of a video's hash; see `content_of`."""
        return self.marker(f"content-{camera}-{video.suffix.lstrip('.')}")

    def task_file(self, task: str) -> Path:
        """Return the path of the completion record of a single-step task."""
        return below(self.session.own / "done", f"task-{task}.json")

    def log_folder(self, task: str) -> Path:
        """Return the folder of the logs of a task."""
        return below(self.session.own / LOGS, task.replace(".", "-"))

    @property
    def fronts_file(self) -> Path:
        """Return the path of the sync fronts that were read from a recording."""
        return self._own("sync-fronts.npz")

    @property
    def qc_file(self) -> Path:
        """Return the path of the checks of the session."""
        return self.session.own / "qc.json"

    @property
    def registration_file(self) -> Path:
        """Return the path of the list of recorded datasets, for a database."""
        return self.session.own / "registration.json"

    def snapshots_file(self, task: str) -> Path:
        """Return the path of the list of images that a task leaves as notes."""
        return self.session.own / f"snapshots-{task}.json"

    @property
    def provenance_file(self) -> Path:
        """Return the path of the provenance: inputs, parameters and versions of all results."""
        return self.session.own / "provenance.json"

    @property
    def report_file(self) -> Path:
        """Return the path of the HTML report."""
        return self.session.own / "report.html"

    def require_writable(self) -> None:
        """Require that results can be written, without creating anything.

        Raises
        ------
        NotWritable
            If a folder is not writable, or is a link; see `require_own`.
        """
        own = (self.session.own, self.session.own / "done", self.session.own / LOGS)
        for folder in (self.session.outputs, self.session.outputs / "alf", *own):
            self.require_own(folder)
        for folder in (self.session.own, self.session.outputs / "alf", self.scratch):
            require_writable(folder)

    def require_own(self, folder: Path) -> None:
        """Require that a folder, to be written to or removed from, belongs to the session.

        Raises
        ------
        NotWritable
            If it is not below the folder of results, or if it or a folder above it is a link: the target may be a data
            store, or another session.
        """
        outputs = self.session.outputs
        if not folder.is_relative_to(outputs):
            raise NotWritable(
                "this folder is not where the session's results go",
                where=str(folder),
                expected=f"a folder below {outputs}",
                got="another place",
                do="run without --output-root, on a copy of the session where that must not be written to",
            )
        above = [outputs / part for part in (folder.relative_to(outputs), *folder.relative_to(outputs).parents)]
        link = next((each for each in reversed(above) if each.is_symlink()), None)
        if link is not None:
            raise NotWritable(
                "results would be written through a link",
                where=str(link),
                expected="a folder",
                got=f"a link to {link.readlink()}",
                do="send results elsewhere with --output-root, or give the folder that the link leads to",
            )

    def is_own(self, folder: Path) -> bool:
        """Return whether a folder belongs to the session; see `require_own`."""
        try:
            self.require_own(folder)
        except NotWritable:
            return False
        return True

    def check_writable(self) -> None:
        """Create the folders of results and scratch.

        Raises
        ------
        NotWritable
            If a folder is not writable or does not belong to the session, in which case none was created.
        """
        self.require_writable()
        for folder in (self.session.own, self.session.outputs / "alf"):
            make_folder(folder)
        self.open_scratch()

    def forget_compressed(self, camera: str) -> None:
        """Remove the intermediate results of a compression; the compressed video stays until it is replaced."""
        self.raw_index_file(camera).unlink(missing_ok=True)
        shutil.rmtree(self._parts(camera, "segments"), ignore_errors=True)

    def forget_pose(self, camera: str, attribute: str) -> None:
        """Remove the intermediate results of a pose estimation; the published table stays until it is replaced."""
        for path in self.marker("").parent.glob(f"{attribute}_*-{camera}.json"):
            path.unlink(missing_ok=True)
        shutil.rmtree(self._parts(camera, attribute), ignore_errors=True)

    def forget_measured(self, camera: str) -> None:
        """Remove the intermediate results of a video and its clock; published files stay until they are replaced."""
        done = self.marker("").parent
        markers = (path for pattern in (f"*-{camera}.json", f"content-{camera}-*.json") for path in done.glob(pattern))
        for path in (self.index_file(camera), self.fronts_file, *markers):
            path.unlink(missing_ok=True)
        shutil.rmtree(self._parts(camera, "chunks"), ignore_errors=True)

    def clean(self) -> None:
        """Remove the scratch of this session."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def _chunk_path(chunk: Chunk) -> str:
    """Return the relative path of a chunk's file, in a folder per million frames, which limits the size of folders."""
    return f"{chunk.start // _SHARD_FRAMES:04d}/{chunk.start:09d}-{chunk.stop:09d}.npz"


def _with_file(folder: Path, chunks: Sequence[Chunk]) -> list[Chunk]:
    """Return the chunks that have a file in a folder of parts, which is listed once: a session has thousands."""
    present = {f"{path.parent.name}/{path.name}" for path in folder.glob("*/*.npz")}
    return [chunk for chunk in chunks if _chunk_path(chunk) in present] if present else []
