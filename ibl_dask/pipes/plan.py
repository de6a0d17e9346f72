"""Nothing of `ibllib.pipes.plan`: `make_pipeline` asks the planners of other environments itself."""

from ibl_dask.pipes.absent import absent

__all__: list[str] = []
__getattr__ = absent(
    __name__,
    "dynamic_pipeline.make_pipeline asks the planners of other environments itself; ibl_dask.Environments names these",
)
