"""Tasks as plain data, under the names of `ibllib.pipes.spec`."""

from ibl_dask.model.task import sort_specs
from ibl_dask.pipes.absent import absent
from ibl_dask.tasks.field_spec import TaskSpec

__all__ = ["TaskSpec", "sort_specs"]
__getattr__ = absent(__name__, {"executable_name": "use task.spec().executable"})
