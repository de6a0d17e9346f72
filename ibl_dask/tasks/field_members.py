"""Methods of the field's tasks that are about a database or a lock of GPUs; most only name the way to go."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from ibl_dask.errors import MissingDatabase, UsageError


class FieldMembers:
    """Part of `Task` for scripts of the field."""

    one: object
    session_path: Any

    def path2eid(self) -> str:
        """Return the identifier of the session in Alyx.

        Raises
        ------
        MissingDatabase
            If the task was given no ONE.
        """
        find = getattr(self.one, "path2eid", None)
        if find is None:
            raise MissingDatabase(
                "this task has no ONE to ask",
                where=str(self.session_path),
                expected="a task that was built with one=ONE()",
                got=type(self.one).__name__,
                do="give it one; or ask ibl_dask.pipes.tasks.Pipeline(session_path).eid",
            )
        return str(find(Path(self.session_path), query_type="remote"))

    def get_signatures(self, **kwargs: Any) -> None:  # arguments of a subclass
        """Do nothing: `input_files` and `output_files` follow the signature at any time."""

    def register_datasets(self, **kwargs: Any) -> NoReturn:  # arguments of the reference
        """Raise: one writer registers the results of all tasks.

        Raises
        ------
        UsageError
            Always.
        """
        self._not_here("register_datasets", "run_alyx_task and `ibl-dask alyx run` register results; those of runs "
                       "without Alyx, `ibl-dask alyx sync SESSION`")  # fmt: skip

    def register_images(self, **kwargs: Any) -> NoReturn:  # arguments of the reference
        """Raise: one writer sends the figures of all tasks.

        Raises
        ------
        UsageError
            Always.
        """
        self._not_here("register_images", "return figures in the folder `snapshot` of the session among the outputs: "
                       "they become notes")  # fmt: skip

    def get_data_handler(self, location: str | None = None) -> NoReturn:
        """Raise: data are where the session is.

        Raises
        ------
        UsageError
            Always.
        """
        self._not_here("get_data_handler", "`ibl-dask run EID` fetches a session that is not here")

    def is_locked(self) -> NoReturn:
        """Raise: there is no lock of all GPUs.

        Raises
        ------
        UsageError
            Always.
        """
        self._not_here("is_locked", "a run gives each GPU to one task at a time; `run` returns -2 for a session that "
                       "another run holds")  # fmt: skip

    @classmethod
    def make_lock_file(cls, taskname: str = "", time_out_secs: int = 7200) -> NoReturn:
        """Raise: there is no lock of all GPUs.

        Raises
        ------
        UsageError
            Always.
        """
        cls._not_here("make_lock_file", "a run gives each GPU to one task at a time")

    @classmethod
    def _not_here(cls, name: str, do: str) -> NoReturn:
        raise UsageError(f"{name} is not offered here", where=cls.__name__, expected="a run", got=f"{name}()", do=do)
