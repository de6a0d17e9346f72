"""Verdict on a raw file of an acquisition computer: it may go, or it stays, and for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Reason = Literal[
    "arrived",
    "no session at the destination",
    "several sessions at the destination",
    "transfer not finished",
    "session in use",
    "no such file at the destination",
    "other size",
    "other content",
    "same file",
    "link",
    "changing",
    "not readable",
    "not removable",
]
"""Reason for which a file may go (the first) or stays."""


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """Verdict on one file."""

    path: Path
    """The file."""
    session: Path
    """Folder of its session."""
    reason: Reason
    """Reason, as one of a fixed set."""
    detail: str = ""
    """Reason, as a phrase: names, sizes or digests."""
    n_bytes: int = 0
    """Its size, bytes."""
    sha256: str = ""
    """Its SHA-256; empty where it was not read."""
    copy: Path | None = None
    """The file at the destination that proves it; None without one."""
    is_removed: bool = False
    """It was removed."""

    @property
    def may_go(self) -> bool:
        """Return whether its copy is proven."""
        return self.reason == "arrived"

    @property
    def verdict(self) -> Literal["removed", "to be removed", "kept"]:
        """Return what happened to it, or would happen."""
        if self.is_removed:
            return "removed"
        return "to be removed" if self.may_go else "kept"

    def to_json(self) -> dict[str, object]:
        """Return the verdict as plain values."""
        return {
            "file": str(self.path),
            "session": str(self.session),
            "verdict": self.verdict,
            "reason": self.reason,
            "detail": self.detail,
            "bytes": self.n_bytes,
            "sha256": self.sha256,
            "copy": None if self.copy is None else str(self.copy),
        }


@dataclass(frozen=True, slots=True)
class Purge:
    """Verdicts on all raw files of an acquisition computer."""

    local_root: Path
    """Folder that was searched."""
    remote_root: Path
    """Destination."""
    is_dry: bool
    """Nothing was removed."""
    files: tuple[FileVerdict, ...]
    """A verdict on each file, in the order of sessions."""
    folders: tuple[Path, ...] = ()
    """Folders that were removed, since they held removed files alone."""

    @property
    def gone(self) -> tuple[FileVerdict, ...]:
        """Return the files that were removed, or of a dry run those that would be."""
        return tuple(file for file in self.files if file.may_go)

    @property
    def n_bytes(self) -> int:
        """Return the size of these files, bytes."""
        return sum(file.n_bytes for file in self.gone)

    def counts(self) -> Counter[Reason]:
        """Return the number of files for each reason."""
        return Counter(file.reason for file in self.files)

    def to_json(self) -> dict[str, object]:
        """Return the verdicts as plain values."""
        return {
            "local_root": str(self.local_root),
            "remote_root": str(self.remote_root),
            "dry_run": self.is_dry,
            "files": [file.to_json() for file in self.files],
            "folders_removed": [str(folder) for folder in self.folders],
            "bytes": self.n_bytes,
            "reasons": dict(self.counts()),
        }


def by_session(files: Sequence[FileVerdict]) -> dict[tuple[Path, str, str], list[FileVerdict]]:
    """Group files by session, verdict and reason."""
    groups: dict[tuple[Path, str, str], list[FileVerdict]] = {}
    for file in files:
        groups.setdefault((file.session, file.verdict, file.reason), []).append(file)
    return groups
