"""Snapshots of a session: images that people took, each with a text of the same name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ibl_dask.model.places import below, require_inside
from ibl_dask.store.workspace import Workspace

SNAPSHOT_FOLDER = "snapshots"
SNAPSHOT_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif")
_ENCODINGS = ("utf-8-sig", "cp1252")


def snapshots_in(workspace: Workspace, collection: str, notes: list[str]) -> list[dict[str, object]]:
    """Return the snapshots of a collection; unreadable ones are named in the notes."""
    found: dict[object, dict[str, object]] = {}
    for folder in folders_of(workspace, collection):
        for entry in images_in(workspace, folder / SNAPSHOT_FOLDER, notes):
            found.setdefault(entry["path"], entry)
    return list(found.values())


def images_in(workspace: Workspace, place: Path, notes: list[str]) -> list[dict[str, object]]:
    """Return the images of a folder of a session, with their texts; unreadable ones are named in the notes."""
    if not place.is_dir():
        return []
    notes += dangling_in(workspace, place)
    inside = sorted(path for path in place.iterdir() if not path.name.startswith("."))
    texts = {path.stem: path for path in inside if path.suffix.lower() == ".txt" and path.is_file()}
    return [
        {**entry_of(workspace, path), "text": _read_note(texts[path.stem]) if path.stem in texts else ""}
        for path in inside
        if path.suffix.lower() in SNAPSHOT_SUFFIXES and path.is_file()
    ]


def collection_folders(workspace: Workspace, pattern: str) -> list[Path]:
    """Return the folders of a session that a name or a pattern stands for; the session itself for an empty one."""
    if "*" not in pattern:
        return folders_of(workspace, pattern) if pattern else list(workspace.session.roots)
    inside = require_inside(pattern, "collection", where=workspace.session.path, may_vary=True)
    return [path for root in workspace.session.roots for path in sorted(root.glob(inside)) if path.is_dir()]


def _read_note(path: Path) -> str:
    """Return a note as text, however the computer that it was typed on encodes letters."""
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace").strip()
    for encoding in _ENCODINGS:
        try:
            return content.decode(encoding).strip()
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1").strip()


def folders_of(workspace: Workspace, collection: str) -> list[Path]:
    """Return the folders of a collection: of the session, and of its results where they are elsewhere."""
    places = (below(root, collection) for root in workspace.session.roots)
    return [place for place in places if place.is_dir()]


def dangling_in(workspace: Workspace, folder: Path) -> Iterator[str]:
    """Yield a note for each link in a folder that leads nowhere."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not os.path.exists(path):  # noqa: PTH110  # `Path.exists` raises for a link in a circle
            yield f"{relative(workspace, path)} is a link that leads nowhere: {path.readlink()}"


def entry_of(workspace: Workspace, path: Path) -> dict[str, object]:
    """Return path, size and time of a file, and the target of a link."""
    stat = path.stat()
    link = {"link": str(path.readlink())} if path.is_symlink() else {}
    return {"path": relative(workspace, path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, **link}


def relative(workspace: Workspace, path: Path) -> str:
    """Return a path below the session."""
    root = next(root for root in workspace.session.roots if path.is_relative_to(root))
    return path.relative_to(root).as_posix()
