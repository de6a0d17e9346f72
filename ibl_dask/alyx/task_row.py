"""Rows of tasks as Alyx stores them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ibl_dask.errors import UsageError
from ibl_dask.model.status import Status
from ibl_dask.model.step import Resources
from ibl_dask.model.task import FIELD_MEMORY_GB, TIME_OUT_S, TaskSpec

MAX_TIME_OUT_SECS = 32_767
"""Longest time-out that the column of Alyx, a small integer, holds, s."""
LONGEST_NAME = 64
"""Longest name of a task, or of a graph, in Alyx."""
LONGEST_EXECUTABLE = 128
"""Longest dotted path in Alyx."""
GRAPH = "Pipeline"
"""Graph of a session's tasks: the name of the reference's class, by which it finds them."""
SITE_ARGUMENTS = frozenset(
    {
        *("session_path", "parents", "one", "taskid", "machine", "location", "clobber", "data_handler_class"),
        *("work_dir", "scratch_folder", "output_root", "environments", "engines", "networks", "raw_video"),
    }
)
"""Arguments of classes that the caller and the site decide upon: what Alyx has for them is left out."""
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_id(text: object) -> bool:
    """Return whether a text is an identifier of Alyx, a UUID; nothing else becomes part of an address or a filter."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One row: a task of a session, its state and its place in the queue."""

    id: str
    """Identifier."""
    name: str
    """Name within the session."""
    executable: str
    """Dotted path of the class."""
    session: str
    """Identifier of the session."""
    status: Status
    """Its state."""
    parents: tuple[str, ...] = ()
    """Identifiers of the tasks that must end first."""
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Keyword arguments of the class."""
    priority: int = 30
    """0 to 100, higher first."""
    level: int = 0
    """Length of the longest path to a task without parents."""
    resources: Resources = Resources()
    """Cores, GPUs and memory."""
    io_charge: int = 5
    """Share of a disk's bandwidth, %."""
    time_out_secs: int = TIME_OUT_S
    """Time after which it is taken for dead, s."""
    log: str = ""
    """Text of its log; a claim stands in it while it runs."""
    data_repository: str = ""
    """Repository whose server runs it."""
    datetime: str = ""
    """Time of the last change of the row, ISO 8601."""

    @classmethod
    def read(cls, content: object) -> TaskRow:
        """Read a row as Alyx answers it.

        Raises
        ------
        UsageError
            If the row names no task that could run: it is left to a person, and does not keep others from running.
        """
        row = content if isinstance(content, Mapping) else {}
        arguments = row.get("arguments")
        faults = [
            *("id" for _ in " " if not is_id(row.get("id"))),
            *("session" for _ in " " if not is_id(row.get("session"))),
            *(key for key in ("name", "executable") if not (isinstance(row.get(key), str) and row[key].strip())),
            *("arguments" for _ in " " if arguments is not None and not isinstance(arguments, Mapping)),
            *("status" for _ in " " if row.get("status") not in tuple(Status)),
        ]
        if faults:
            raise UsageError(
                "a row of Alyx is no task that could run",
                where=str(row.get("id", "")) or "a row without an identifier",
                expected="an identifier, a session, a name, an executable, arguments as an object and a known status",
                got=", ".join(f"{key}: {row.get(key)!r:.80}" for key in faults),
                do="mend or remove this row in Alyx; the others go on",
            )
        return cls(
            id=row["id"],
            name=row["name"],
            executable=row["executable"].strip(),
            session=row["session"],
            status=Status(row["status"]),
            parents=tuple(str(parent) for parent in row.get("parents") or ()),
            arguments=dict(arguments or {}),
            priority=_number(row.get("priority"), 30),
            level=_number(row.get("level"), 0),
            resources=Resources(
                cpu=max(1, _number(row.get("cpu"), 1)),  # -1 stands for all cores in the reference
                gpu=max(0, _number(row.get("gpu"), 0)),
                memory_gb=float(_number(row.get("ram"), int(FIELD_MEMORY_GB))),
            ),
            io_charge=_number(row.get("io_charge"), 5),
            time_out_secs=_number(row.get("time_out_secs"), TIME_OUT_S) or TIME_OUT_S,
            log=str(row.get("log") or ""),
            data_repository=str(row.get("data_repository") or ""),
            datetime=str(row.get("datetime") or ""),
        )

    def spec(self, parents: Sequence[str] = ()) -> TaskSpec:
        """Return the task as plain data, without arguments that are not for a row to decide, see `SITE_ARGUMENTS`.

        Parameters
        ----------
        parents : sequence of str
            Names of those parents that run in the same pass.
        """
        return TaskSpec(
            name=self.name,
            executable=self.executable,
            arguments={name: value for name, value in self.arguments.items() if name not in SITE_ARGUMENTS},
            parents=tuple(parents),
            resources=self.resources,
            priority=self.priority,
            level=self.level,
            io_charge=self.io_charge,
            time_out_secs=self.time_out_secs,
        )


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def body_of(
    spec: TaskSpec, session: str, parents: Sequence[str], repository: str | None, graph: str = GRAPH
) -> dict[str, object]:
    """Return the row of a new task, as it is sent to Alyx.

    `status` is always there: a row without one makes every list that contains it fail, for everybody. `arguments` are
    never null, since only then Alyx notices that the row exists.

    Parameters
    ----------
    spec : TaskSpec
        The task.
    session : str
        Identifier of the session.
    parents : sequence of str
        Identifiers of the parents.
    repository : str, optional
        Data repository whose server runs it.
    graph : str
        Name of its pipeline.

    Raises
    ------
    UsageError
        If Alyx cannot hold it.
    """
    for text, longest, part in ((spec.name, LONGEST_NAME, "name"), (spec.executable, LONGEST_EXECUTABLE, "class")):
        if len(text) > longest:
            raise UsageError(
                f"Alyx cannot hold the {part} of a task",
                where=spec.name,
                expected=f"{longest} characters at most",
                got=f"{len(text)}: {text}",
                do="give it a shorter one",
            )
    plain = spec.to_dict()
    return {
        **{key: plain[key] for key in ("name", "executable", "priority", "io_charge", "gpu", "cpu", "level")},
        "arguments": plain["arguments"],
        "ram": round(plain["ram"]),
        "time_out_secs": min(spec.time_out_secs, MAX_TIME_OUT_SECS),
        "parents": list(parents),
        "session": session,
        "graph": graph,
        "status": str(Status.WAITING),
        "log": None,
        **({"data_repository": repository} if repository else {}),
    }
