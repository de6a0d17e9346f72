"""The field's module names: a script moves here when `ibllib.pipes` is replaced by `ibl_dask.pipes`.

Each module holds the names of the module of the reference (ibllib 4.1.0) that it is called after. A name that is not
offered raises an error with the alternative.
"""

from ibl_dask.tasks.registry import assign_task

__all__ = ["assign_task"]
