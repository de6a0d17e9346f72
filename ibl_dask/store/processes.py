"""Which process something belongs to, and whether that process is still there.

A host's name and a number are no identity. Numbers are given out again, containers share a name or a kernel and count
their processes from 1, and clones of a machine share its name.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Verdict = Literal["alive", "gone", "unknown"]
"""unknown: it is not one of the processes that can be seen from here, or too little is known of it."""

_MARK = re.compile(r"(?P<host>.+)-(?P<boot>[0-9a-f]{12}|0)-(?P<namespace>\d+)-(?P<pid>\d+)-(?P<started>\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Process:
    """One process among those of all machines and all times."""

    host: str
    """Name of its machine, for people."""
    pid: int
    """Its number within its namespace."""
    boot: str = ""
    """First 12 hexadecimal digits of the identity of its machine's last start; empty where that is not known."""
    namespace: int = 0
    """Number of its namespace of processes; 0 where that is not known."""
    started: int = 0
    """When it was started, in clock ticks since its machine was; 0 where that is not known."""

    @property
    def mark(self) -> str:
        """Return all of it as a part of a file's name."""
        return f"{self.host}-{self.boot or 0}-{self.namespace}-{self.pid}-{self.started}"

    @classmethod
    def from_mark(cls, mark: str) -> Process | None:
        """Read what `mark` returns; None where it is something else."""
        found = _MARK.fullmatch(mark)
        if found is None:
            return None
        boot = "" if found["boot"] == "0" else found["boot"]
        return cls(found["host"], int(found["pid"]), boot, int(found["namespace"]), int(found["started"]))

    def to_json(self) -> dict[str, Any]:
        """Return a mapping that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Process | None:
        """Read what `to_json` or an older version wrote, which knew host and pid alone; None where it is neither."""
        host, boot = content.get("host"), content.get("boot", "")
        pid, namespace, started = content.get("pid"), content.get("namespace", 0), content.get("started", 0)
        if not (isinstance(host, str) and isinstance(boot, str)):
            return None
        if not (isinstance(pid, int) and isinstance(namespace, int) and isinstance(started, int) and pid > 0):
            return None
        return cls(host, pid, boot, namespace, started)


def judge(process: Process, here: Process, started: int | None) -> Verdict:
    """Say whether a process is still there.

    Parameters
    ----------
    process : Process
        Which.
    here : Process
        One that can be seen from here, such as the one that asks.
    started : int or None
        When the process was started that has its number here; 0 where that cannot be told, None where there is none.
    """
    is_near = (process.boot, process.namespace) == (here.boot, here.namespace)
    if not is_near or (not process.boot and process.host != here.host):
        return "unknown"
    if started is None:
        return "gone"
    if not process.started or not started:
        return "unknown"  # its number may have been given out again
    return "alive" if process.started == started else "gone"


def state_of(process: Process) -> Verdict:
    """Look whether a process is still there."""
    return judge(process, this_process(), find_start(process.pid))


def this_process() -> Process:
    """Return the identity of the process that asks."""
    return _identity(os.getpid())


@lru_cache(maxsize=1)
def _identity(pid: int) -> Process:  # the number changes where the process forks
    return Process(socket.gethostname(), pid, _boot(), _namespace(), find_start(pid) or 0)


def find_start(pid: int) -> int | None:
    """Return when a process of this namespace was started, clock ticks since this machine was; see `judge`."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # somebody else's
    try:
        if Path("/proc/self").readlink() != Path(str(os.getpid())):
            return 0  # it shows the processes of another namespace
        # The name of the program, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        state, n_threads, started = fields[0], int(fields[17]), int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0  # no such file system, or one that hides the processes of others
    # Killed, and its parent has not asked how it ended.
    return None if state in "ZX" and n_threads <= 1 else started


def _boot() -> str:
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""
    digits = text.strip().replace("-", "").lower()[:12]
    return digits if re.fullmatch(r"[0-9a-f]{12}", digits) else ""


def _namespace() -> int:
    try:
        return int(re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink())) or 0)
    except OSError:
        return 0
