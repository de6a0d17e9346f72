"""Done-markers of steps: small files with the fingerprint, the result, and digests of the outputs."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from ibl_dask.store.atomic import recover_folder, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MARKER_VERSION = 2


def write_marker(path: Path, fingerprint: str, root: Path, outputs: Iterable[Path], value: Mapping[str, Any]) -> None:
    """Write the marker of a step.

    Parameters
    ----------
    path : Path
        File to write.
    fingerprint : str
        Fingerprint of the step.
    root : Path
        Folder to which the outputs are relative.
    outputs : iterable of Path
        Files and folders that the step left.
    value : mapping
        Its result; JSON.
    """
    listed = {str(output.relative_to(root)): content_digest(output) for output in outputs}
    content = {"version": MARKER_VERSION, "fingerprint": fingerprint, "outputs": listed, "value": dict(value)}
    write_text(path, json.dumps({**content, "digest": _digest_of(content)}, indent=1, sort_keys=True))


def read_marker(path: Path, fingerprint: str, root: Path) -> dict[str, Any] | None:
    """Return the result of the step that wrote the marker; None where it is not done.

    A marker of another fingerprint, or one whose outputs are gone or have another content, does not count.

    Parameters
    ----------
    path
        The marker.
    fingerprint
        Fingerprint of the step as it would run now.
    root
        Folder to which the names of the outputs are relative.
    """
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    if content.get("version") != MARKER_VERSION or content.get("fingerprint") != fingerprint:
        return None
    if content.pop("digest", None) != _digest_of(content):
        return None
    for name, digest in content["outputs"].items():
        if not recover_folder(root / name) or content_digest(root / name) != digest:
            return None
    value: dict[str, Any] = content["value"]
    return value


def marked_fingerprint(path: Path, root: Path) -> str | None:
    """Return the fingerprint in a marker; None without one, or where an output of it is gone.

    The content of outputs is not read.
    """
    try:
        content = json.loads(path.read_text())
        is_whole = content["version"] == MARKER_VERSION and all((root / name).exists() for name in content["outputs"])
        return str(content["fingerprint"]) if is_whole else None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def content_digest(path: Path) -> str:
    """Return a digest of every byte of a file, or of all files of a folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    parts = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            whole = hashlib.file_digest(content, "sha256").hexdigest()
        parts.update(f"{file.relative_to(path)} {whole}\n".encode())
    return parts.hexdigest()[:16]
