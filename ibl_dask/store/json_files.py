"""Objects of JSON in files that may be missing, damaged, or of another version."""

from __future__ import annotations

import json
from pathlib import Path

from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.text import read_text


def read_object(path: Path) -> JsonObject:
    """Return the object of JSON in a file; an empty one where it cannot be read."""
    try:
        found = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
