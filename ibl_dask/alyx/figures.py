"""Images of a finished task that become notes on its session: figures that it drew, and snapshots of people.

Source of what the field shows of them: `ReportSnapshot.register_images` and `RegisterRawDataTask.register_snapshots` of
ibllib 4.1.0.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ibl_dask.alyx.task_result import Note, TaskResult
from ibl_dask.model.places import complaint
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.model.status import Status
from ibl_dask.store.json_files import read_object

FIGURES = "snapshot"
"""Folder of the figures of tasks, in a session; they are no datasets."""
REGISTRATION = f"{OWN_FOLDER}/registration.json"
"""List of the snapshots of a session, which the registration of its videos writes."""
SNAPSHOTS = OWN_FOLDER + "/snapshots-{}.json"
"""The same of a lab's own task, by the name of its class; see `Workspace.snapshots_file`."""
_FIGURE_KINDS = (".png", ".jpg", ".jpeg")
_FUNCTIONS = {
    "dlc_qc_plot": "ibllib.plots.figures.dlc_qc_plot",
    "lp_qc_plot": "ibllib.plots.figures.lp_qc_plot",
}
"""Name of a figure -> function of the field that draws it, by which its notes are found there."""
_RAN = (Status.COMPLETE, Status.INCOMPLETE, Status.ERRORED)


def is_figure(path: str) -> bool:
    """Return whether a file of a session is a figure of a task.

    >>> is_figure("snapshot/dlc_qc_plot.png")
    True
    """
    parts = PurePosixPath(path)
    return parts.parts[0] == FIGURES and parts.suffix.lower() in _FIGURE_KINDS


def with_figures(result: TaskResult, executable: str = "") -> TaskResult:
    """Return a result whose figures are notes and no outputs, with the snapshots that its task listed.

    Parameters
    ----------
    result : TaskResult
        Result of a task that ran in `result.folder`.
    executable : str
        Dotted path of the class of the task, by which its list of snapshots is known; by default its name.
    """
    if result.status not in _RAN or not result.folder:
        return result
    drawn = [output.path for output in result.outputs if is_figure(output.path)]
    notes = [
        Note(name, path, _FUNCTIONS.get(name, result.task)) for path in drawn if (name := PurePosixPath(path).stem)
    ]
    name = executable.rpartition(".")[2] or result.task
    listed = REGISTRATION if name.startswith("VideoRegisterRaw") else SNAPSHOTS.format(name)
    if complaint(listed) is None:
        notes += _snapshots(Path(result.folder), listed)
    outputs = tuple(output for output in result.outputs if not is_figure(output.path))
    known = {(note.text, note.image) for note in result.notes}
    fresh = (note for note in notes if (note.text, note.image) not in known)
    return replace(result, outputs=outputs, notes=(*result.notes, *fresh))


def _snapshots(session: Path, listed: str) -> Iterable[Note]:
    """Yield the snapshots in a list of a session; entries that make no sense are left out."""
    for row in read_object(session / listed).get("snapshots") or ():
        path = row.get("path") if isinstance(row, dict) else None
        if isinstance(path, str) and complaint(path) is None and (session / path).is_file():
            yield Note(str(row.get("text") or ""), path)


def media_type(image: bytes) -> str:
    """Return the media type of an image by its first bytes; empty for one that Alyx does not show as it is."""
    known = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
    return next((kind for start, kind in known.items() if image.startswith(start)), "")


def as_png(image: bytes) -> bytes:
    """Return an image as PNG, such as a TIFF, which browsers do not show.

    Raises
    ------
    ValueError
        If it is no image, or Pillow, which reads it, is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ValueError("Pillow, which converts it, is not installed") from error
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(image)) as picture:
            picture.convert("RGB").save(out, "PNG")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from error
    return out.getvalue()
