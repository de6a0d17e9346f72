"""Where everything of a session lands."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.errors import NotWritable
from ibl_dask.model.places import below
from ibl_dask.store.alf import latest
from ibl_dask.store.atomic import make_folder, readable_folder, require_writable

if TYPE_CHECKING:
    from ibl_dask.model.chunk import Chunk
    from ibl_dask.model.description import Camera
    from ibl_dask.model.session import Session

SCRATCH_VARIABLE = "IBL_DASK_SCRATCH"
WORK_FOLDER = ".ibl_dask"
_SHARD_FRAMES = 1_000_000
_NAMES = r"(compression\.json|pulse_times\.npz|timing\.npz|frames\.zarr|fronts\.npz)"
_OLDER = re.compile(rf"(.+Camera|sync)\.{_NAMES}")
_NEWER = re.compile(rf"(.+)-{_NAMES}")
"""Files of ours as older versions named them, and as this one does: a name with two dots is that of an ALF dataset, and
what loads these by their object would find ours as well."""


def older_name(path: Path) -> Path | None:
    """Return the name that older versions gave a file of ours; None where it is the same."""
    match = _NEWER.fullmatch(path.name)
    return None if match is None else path.with_name(f"{match[1]}.{match[2]}")


def default_work_dir(session: Session) -> Path:
    """Return `$IBL_DASK_SCRATCH`, else a folder beside the subjects that receive results."""
    scratch = os.environ.get(SCRATCH_VARIABLE)
    if scratch:
        return Path(scratch).expanduser().absolute()
    return session.outputs.parents[2] / WORK_FOLDER


@dataclass(frozen=True)
class Workspace:
    """Paths of one session: results beside its data (or under the output root), scratch in the work folder."""

    session: Session
    """The session."""
    work_dir: Path
    """Scratch and journals of the run."""
    overwrite: bool = False
    """Make everything anew, and replace published ALF files that would change instead of making a new revision."""

    @property
    def scratch(self) -> Path:
        """Return the scratch folder of this session; removed when its results are in place."""
        digest = hashlib.sha256(f"{self.session.path}\n{self.session.outputs}".encode()).hexdigest()[:8]
        return self.work_dir / "scratch" / f"{self.session.reference.replace('/', '_')}-{digest}"

    def _own(self, name: str) -> Path:
        """Return where a file of ours is: under the name of an older version where only that is there."""
        path = below(self.session.own, name)
        older = older_name(path)
        return older if older is not None and older.exists() and readable_folder(path) is None else path

    def rename_older(self) -> None:
        """Give files of an older version the names of this one. Only for the one who holds the session.

        Markers that name them count no more: what these vouch for is made again, from what is measured already.
        """
        own = self.session.own
        for path in sorted(own.iterdir()) if own.is_dir() else ():
            match = _OLDER.fullmatch(path.name)
            if match is not None and not (target := own / f"{match[1]}-{match[2]}").exists():
                path.rename(target)

    def index_file(self, camera: str) -> Path:
        """Return the cached frame index of a camera's video."""
        return below(self.scratch, f"{camera}-index.npz")

    def chunk_file(self, camera: str, chunk: Chunk) -> Path:
        """Return the result of the frame pass over a chunk."""
        return self._parts(camera, "chunks") / _place(chunk)

    def raw_index_file(self, camera: str) -> Path:
        """Return the cached frame index of a camera's raw video, where that is compressed."""
        return below(self.scratch, f"{camera}-raw-index.npz")

    def segment_file(self, camera: str, chunk: Chunk) -> Path:
        """Return the compressed frames of a chunk."""
        return self._parts(camera, "segments") / _place(chunk)

    def _parts(self, camera: str, kind: str) -> Path:
        return below(self.scratch, f"{camera}-{kind}")

    def video_file(self, camera: Camera) -> Path:
        """Return where the compressed video of a camera belongs."""
        return below(self.session.outputs, camera.collection, f"_iblrig_{camera.label}Camera.raw.mp4")

    def compression_file(self, camera: str) -> Path:
        """Return what is known about how a video was compressed."""
        return self._own(f"{camera}Camera-compression.json")

    def qc_part(self, camera: str) -> Path:
        """Return the checks of one camera, before they are put together."""
        return below(self.scratch, f"{camera}-qc.json")

    def times_file(self, camera: str) -> Path:
        """Return where the ALF file of frame times belongs."""
        return below(self.session.outputs / "alf", f"_ibl_{camera}Camera.times.npy")

    def published_times(self, camera: str) -> Path | None:
        """Return the newest revision of the frame times; None where there are none."""
        return latest(self.times_file(camera))

    def pulse_times_file(self, camera: str) -> Path:
        """Return the times as the pulses alone tell them, before the wheel is asked."""
        return self._own(f"{camera}Camera-pulse_times.npz")

    def timing_file(self, camera: str) -> Path:
        """Return what is known about how the times were obtained."""
        return self._own(f"{camera}Camera-timing.npz")

    def frames_store(self, camera: str) -> Path:
        """Return the per-frame store."""
        return self._own(f"{camera}Camera-frames.zarr")

    def marker(self, step: str) -> Path:
        """Return the done-marker of a step."""
        return below(self.session.own / "done", f"{step}.json")

    def content_note(self, camera: str, video: Path) -> Path:
        """Return where the hash of a video is noted; see `content_of`."""
        return self.marker(f"content-{camera}-{video.suffix.lstrip('.')}")

    def task_file(self, task: str) -> Path:
        """Return what was noted when a task that is one step was done."""
        return below(self.session.own / "done", f"task-{task}.json")

    def log_file(self, task: str) -> Path:
        """Return what a task that is one step logged; dots in its name would make an ALF dataset of it."""
        return below(self.session.own / "logs", f"{task.replace('.', '-')}.log")

    @property
    def fronts_file(self) -> Path:
        """Return where fronts are kept that were read from a recording."""
        return self._own("sync-fronts.npz")

    @property
    def qc_file(self) -> Path:
        """Return the checks of the session."""
        return self.session.own / "qc.json"

    @property
    def registration_file(self) -> Path:
        """Return the list of what the session recorded, for a database."""
        return self.session.own / "registration.json"

    @property
    def provenance_file(self) -> Path:
        """Return what was made from what."""
        return self.session.own / "provenance.json"

    @property
    def report_file(self) -> Path:
        """Return the report."""
        return self.session.own / "report.html"

    def require_writable(self) -> None:
        """Check that results can be written, without making anything.

        Raises
        ------
        NotWritable
            If not, or if they would land behind a link; see `require_own`.
        """
        own = (self.session.own, self.session.own / "done", self.session.own / "logs")
        for folder in (self.session.outputs, self.session.outputs / "alf", *own):
            self.require_own(folder)
        for folder in (self.session.own, self.session.outputs / "alf", self.scratch):
            require_writable(folder)

    def require_own(self, folder: Path) -> None:
        """Check that a folder that results go to, or that something is removed from, is the session's own.

        Raises
        ------
        NotWritable
            If it is a link, or behind one: what it leads to may be a data store, or another session, which is not ours.
            Or if it is not below where results go.
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
        link = next((place for place in reversed(above) if place.is_symlink()), None)
        if link is not None:
            raise NotWritable(
                "results would be written through a link",
                where=str(link),
                expected="a folder",
                got=f"a link to {link.readlink()}",
                do="send results elsewhere with --output-root, or give the folder that the link leads to",
            )

    def is_own(self, folder: Path) -> bool:
        """Return whether a folder is the session's own; see `require_own`."""
        try:
            self.require_own(folder)
        except NotWritable:
            return False
        return True

    def check_writable(self) -> None:
        """Make the folders that results go to.

        Raises
        ------
        NotWritable
            See `require_writable`; nothing was made then.
        """
        self.require_writable()
        for folder in (self.session.own, self.session.outputs / "alf", self.scratch):
            make_folder(folder)

    def forget_compressed(self, camera: str) -> None:
        """Let nothing of a compression count as done; the video stays until another one takes its place."""
        self.raw_index_file(camera).unlink(missing_ok=True)
        shutil.rmtree(self._parts(camera, "segments"), ignore_errors=True)

    def forget_measured(self, camera: str) -> None:
        """Let nothing that was made of a video and of its clock count as done; what is published stays until then."""
        done = self.marker("").parent
        found = (path for pattern in (f"*-{camera}.json", f"content-{camera}-*.json") for path in done.glob(pattern))
        for path in (self.index_file(camera), self.fronts_file, *found):
            path.unlink(missing_ok=True)
        shutil.rmtree(self._parts(camera, "chunks"), ignore_errors=True)

    def clean(self) -> None:
        """Remove the scratch of this session."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def _place(chunk: Chunk) -> Path:
    """Return where the file of a chunk is among those of its video: folders do not grow without end."""
    return Path(f"{chunk.start // _SHARD_FRAMES:04d}") / f"{chunk.start:09d}-{chunk.stop:09d}.npz"
