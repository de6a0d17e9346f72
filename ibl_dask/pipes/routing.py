"""Environments of tasks, under the names of `ibllib.pipes.routing`."""

from __future__ import annotations

from collections.abc import Mapping

from ibl_dask.alyx import task_queue
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


def task_env(executable: str, routes: Mapping[str, str | None] | None = None) -> str | None:
    """Return the label of the environment of a class, by its dotted path alone; None for that of the field.

    Parameters
    ----------
    executable : str
        Dotted path of the class.
    routes : mapping, optional
        Beginning of a dotted path -> label; the longest one counts. By default those of the catalogue.
    """
    if routes is None:
        return task_queue.task_env(executable)
    fitting = [start for start in routes if f"{executable}.".startswith(f"{start.rstrip('.')}.")]
    return routes[max(fitting, key=len)] if fitting else None
