"""Name of the work folder, and where it is looked for."""

from __future__ import annotations

import os
from pathlib import Path

SCRATCH_VARIABLE = "IBL_DASK_SCRATCH"
"""Variable that names another work folder."""
WORK_FOLDER = ".ibl_dask"
"""Name of the work folder beside the folders of the subjects."""


def nearest_work_folder() -> Path:
    """Return the work folder that the environment names, else the nearest one at or above the current folder."""
    scratch = os.environ.get(SCRATCH_VARIABLE)
    if scratch:
        return Path(scratch).expanduser()
    here = Path.cwd()
    for folder in (here, *here.parents):
        for candidate in (folder / WORK_FOLDER, folder / "Subjects" / WORK_FOLDER):
            if candidate.is_dir():
                return candidate
    return here / WORK_FOLDER
