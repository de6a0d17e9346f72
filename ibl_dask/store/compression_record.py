"""Record of how a camera's video was compressed or copied: source, result, and verification."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.json_object import JsonObject
from ibl_dask.store.atomic import write_text
from ibl_dask.store.workspace import Workspace

RECORD_VERSION = 2


@dataclass(frozen=True, slots=True)
class RecordedVideo:
    """A video as it was recorded."""

    file: JsonObject
    """Identity of the file; see `ibl_dask.store.identity`."""
    index: JsonObject
    """Identity of the content; see `FrameIndex.identity`."""
    frames: int
    """Frames."""

    @property
    def size(self) -> int:
        """Return the size of the file, bytes."""
        return int(self.file["size"])


@dataclass(frozen=True, slots=True)
class CompressionRecord:
    """Record of a compression."""

    source: RecordedVideo
    """The raw video."""
    result: RecordedVideo
    """The compressed one."""
    sha256: str
    """Digest of the compressed file."""
    made: JsonObject
    """Profile, notes, and details of the encoder or of the copied packets."""
    version: int = RECORD_VERSION
    """Layout. Version 1 identifies files by size and time of writing alone: enough to leave a video as it is."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the remarks of the compression."""
        return tuple(map(str, self.made["notes"]))

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """Return the chunks in which the video was compressed; none for a copy of packets."""
        return tuple(Chunk(start, stop) for start, stop in pairwise(self.made.get("borders", ())))

    @property
    def summary(self) -> dict[str, object]:
        """Return numbers for report and journal: fidelity only where frames were encoded."""
        facts: dict[str, object] = {
            "frames": self.result.frames,
            "sha256": self.sha256,
            "bytes": self.result.size,
            "raw_bytes": self.source.size,
            "profile": self.made["profile"]["name"],
        }
        if "psnr_db" in self.made:
            facts |= {
                "median_psnr_db": self.made["psnr_db"]["median"],
                "lowest_psnr_db": self.made["psnr_db"]["lowest"],
                "median_ssim": self.made["ssim"]["median"],
            }
        return facts

    def is_of(self, video: Mapping[str, object]) -> bool:
        """Return True if a video with this identity is the compressed one, to the byte."""
        return self.sha256 == video.get("sha256")

    def to_json(self) -> dict[str, object]:
        """Return a mapping that `from_json` reads back."""
        source, result = self.source, self.result
        return {
            "version": self.version,
            "source": {"file": source.file, "index": source.index, "frames": source.frames},
            "result": {"file": result.file, "index": result.index, "frames": result.frames, "sha256": self.sha256},
            **self.made,
        }

    @classmethod
    def from_json(cls, content: JsonObject) -> CompressionRecord:
        """Read a mapping.

        Raises
        ------
        KeyError, TypeError
            If a part is absent.
        """
        made = {name: value for name, value in content.items() if name not in ("version", "source", "result")}
        source, result = (
            RecordedVideo(content[side]["file"], content[side]["index"], content[side]["frames"])
            for side in ("source", "result")
        )
        if not {"profile", "notes"} <= made.keys():
            raise KeyError("profile, notes")
        return cls(source, result, content["result"]["sha256"], made, content["version"])


def read_record(workspace: Workspace, camera: str) -> CompressionRecord | None:
    """Return the record of a camera's compression; None without a readable one."""
    try:
        record = CompressionRecord.from_json(json.loads(workspace.compression_file(camera).read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if record.version in (1, RECORD_VERSION) else None


def write_record(workspace: Workspace, camera: str, record: CompressionRecord) -> None:
    """Write the record of a camera's compression.

    Parameters
    ----------
    workspace
        The session.
    camera
        Label of the camera.
    record
        The record.
    """
    write_text(workspace.compression_file(camera), json.dumps(record.to_json(), indent=1))


def recorded_chunks(workspace: Workspace, camera: str, video: Mapping[str, object]) -> tuple[Chunk, ...]:
    """Return the chunks in which a video was compressed; none for a video without a record.

    Parameters
    ----------
    workspace
        The session.
    camera
        Label.
    video
        Identity of the video.
    """
    record = read_record(workspace, camera)
    return () if record is None or not record.is_of(video) else record.chunks
