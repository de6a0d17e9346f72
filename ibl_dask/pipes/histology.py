"""Nothing of `ibllib.pipes.histology`, which has no part in pipelines."""

from ibl_dask.pipes.absent import absent

__all__: list[str] = []
__getattr__ = absent(__name__, "it is no task: import it from ibllib.pipes.histology")
