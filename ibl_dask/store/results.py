"""Results computed per chunk of a video: one file per chunk, of parts that carry a fingerprint each.

A part is valid while its fingerprint is the one that is wanted, so that a changed parameter costs only the parts that
depend on it. A file of another video or of other frames, of another layout, or one that is damaged counts as absent.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ibl_dask.errors import CorruptOutput, FormatTooNew
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.json_object import JsonObject
from ibl_dask.store.arrays import Array, read_arrays, write_arrays

Identity = Mapping[str, object]
"""Identity of a video; see `FrameIndex.identity`."""


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """Layout of the files of one computation."""

    kind: str
    """Name in the header of the files."""
    version: int
    """Version of the layout."""
    title: str
    """Name of the results in messages, plural."""
    remedy: str
    """Advice where a file is gone."""
    only_part: str = ""
    """Part that files of earlier versions hold, which note its fingerprint as `mark` and name no video: there the
    fingerprint depends on the video. Empty where earlier versions wrote the same facts."""


@dataclass(frozen=True, slots=True, eq=False)
class ChunkResult:
    """Contents of the file of one chunk."""

    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Part -> its fingerprint."""
    arrays: Mapping[str, Array] = field(default_factory=dict)
    """Arrays by name: `part/array`, or one word for those that all parts share."""
    facts: JsonObject = field(default_factory=dict)  # JSON
    """Further facts."""

    def missing(self, wanted: Mapping[str, str]) -> list[str]:
        """Return the parts that are absent, or have another fingerprint than wanted."""
        return [name for name, digest in wanted.items() if self.fingerprints.get(name) != digest]

    def only(self, parts: Container[str]) -> ChunkResult:
        """Return the result with these parts alone, and no shared array."""
        arrays = {name: values for name, values in self.arrays.items() if name.partition("/")[0] in parts}
        fingerprints = {name: digest for name, digest in self.fingerprints.items() if name in parts}
        return ChunkResult(fingerprints, arrays, self.facts)


ABSENT = ChunkResult()
"""Result of a chunk without a file that counts."""


def find_chunk(path: Path, layout: ChunkLayout, video: Identity, chunk: Chunk) -> ChunkResult:
    """Look up the result of a chunk.

    Parameters
    ----------
    path : Path
        File of the chunk.
    layout : ChunkLayout
        Its layout.
    video : mapping
        Identity of the video as it is now.
    chunk : Chunk
        Frames of the chunk.

    Returns
    -------
    ChunkResult
        `ABSENT` where there is no file, or one that does not count.
    """
    try:
        arrays, facts = read_arrays(path, layout.kind, layout.version)
    except (FileNotFoundError, CorruptOutput, FormatTooNew):
        return ABSENT
    if "fingerprints" not in facts:
        return ChunkResult({layout.only_part: facts.pop("mark")}, arrays, facts)
    if (facts["video"], facts["start"], facts["stop"]) != (dict(video), chunk.start, chunk.stop):
        return ABSENT
    return ChunkResult(facts["fingerprints"], arrays, facts)


def require_chunk(
    path: Path, layout: ChunkLayout, video: Identity, chunk: Chunk, wanted: Mapping[str, str] | None = None
) -> ChunkResult:
    """Return the result of a chunk that was committed before.

    Parameters
    ----------
    path, layout, video, chunk
        See `find_chunk`.
    wanted : mapping, optional
        Parts that must be there -> their fingerprints.

    Raises
    ------
    CorruptOutput
        If it is gone, or is that of other frames, or lacks a part.
    """
    found = find_chunk(path, layout, video, chunk)
    if not found.arrays or found.missing(wanted or {}):
        raise CorruptOutput(
            f"{layout.title} of a chunk are gone",
            where=str(path),
            expected=f"frames {chunk.start:,} to {chunk.stop - 1:,} of this video, as this run made them",
            got="results made with other parameters" if found.arrays else "no file of these frames that can be read",
            do=layout.remedy,
        )
    return found


def commit_chunk(path: Path, layout: ChunkLayout, video: Identity, chunk: Chunk, result: ChunkResult) -> None:
    """Write the result of a chunk in one piece, in place of any earlier one.

    Parameters
    ----------
    path, layout, video, chunk
        See `find_chunk`.
    result : ChunkResult
        Everything that the file holds from then on.
    """
    facts = {
        **result.facts,
        "fingerprints": dict(result.fingerprints),
        "video": dict(video),
        "start": chunk.start,
        "stop": chunk.stop,
    }
    write_arrays(path, layout.kind, layout.version, result.arrays, facts)
