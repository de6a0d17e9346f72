"""Tasks as plain data, under the names of `ibllib.pipes.spec`."""

from ibl_dask.model.task import TaskSpec, sort_specs
from ibl_dask.pipes.absent import absent

__all__ = ["TaskSpec", "sort_specs"]
__getattr__ = absent(__name__, {"executable_name": "use task.spec().executable"})
