"""Environments of tasks, under the names of `ibllib.pipes.routing`."""

from ibl_dask.alyx.task_queue import task_env
from ibl_dask.pipes.absent import absent

__all__ = ["task_env"]

_PLACES = "ibl_dask.Environments holds the environments of a site; a profile or $IBL_DASK_PYTHON_<LABEL> names them"
__getattr__ = absent(
    __name__,
    {
        "ROUTES": "use task_env",
        "ENV_PATHS": _PLACES,
        "env_path": _PLACES,
        "env_python": f"use Environments.python_of; {_PLACES}",
        "installed_envs": f"use local_server.list_available_envs; {_PLACES}",
    },
)
