"""Done-markers: small files that say what a step left behind, and for which fingerprint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ibl_dask.store.atomic import recover_folder, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MARKER_VERSION = 1


def write_marker(path: Path, fingerprint: str, root: Path, outputs: Iterable[Path], value: Mapping[str, Any]) -> None:
    """Say that a step is done; `root` is the folder that the outputs are named from."""
    listed = {str(output.relative_to(root)): _size(output) for output in outputs}
    content = {"version": MARKER_VERSION, "fingerprint": fingerprint, "outputs": listed, "value": dict(value)}
    write_text(path, json.dumps(content, indent=1, sort_keys=True))


def read_marker(path: Path, fingerprint: str, root: Path) -> dict[str, Any] | None:
    """Return what the step returned when it was done; None where it is not done.

    A marker of another fingerprint, or one whose outputs are gone or have another size, does not count.
    """
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    if content.get("version") != MARKER_VERSION or content.get("fingerprint") != fingerprint:
        return None
    for name, size in content["outputs"].items():
        output = root / name
        if not recover_folder(output) or (size is not None and _size(output) != size):
            return None
    value = content["value"]
    return value if isinstance(value, dict) else None


def _size(path: Path) -> int | None:
    return None if path.is_dir() else path.stat().st_size
