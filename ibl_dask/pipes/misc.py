"""Names of files of probes, under the names of `ibllib.pipes.misc`."""

from ibl_dask.pipes.absent import absent
from ibl_dask.transfer.ephys_names import get_new_filename, move_ephys_files, rename_ephys_files

__all__ = ["get_new_filename", "move_ephys_files", "rename_ephys_files"]

_RIG = "it belongs to the acquisition computer: use iblrig"
__getattr__ = absent(
    __name__,
    {
        "log": "use logging.getLogger",
        "DEVICE_FLAG_MAP": "descriptions of experiments took the place of flags: ibl_dask.Session(path).description",
        "probe_labels_from_session_path": "the specs of make_pipeline name the probes of a session",
        "create_alyx_probe_insertions": "insertions are made by ibllib.pipes.misc, with electrophysiology",
        "get_iblscripts_folder": _RIG,
        "WindowsInhibitor": _RIG,
        "sleepless": _RIG,
    },
)
