"""Identity of a process among those of all machines, and whether it still runs.

Host name and process number are not unique: numbers are reused, containers share a name or a kernel and number their
processes from 1, and clones of a machine share its name.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Verdict = Literal["alive", "gone", "unknown"]
"""unknown: the process cannot be seen from here, or too little is known of it."""

_MARK = re.compile(r"(?P<host>.+)-(?P<boot>[0-9a-f]{12}|0)-(?P<namespace>\d+)-(?P<pid>\d+)-(?P<started>\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Process:
    """Identity of a process among those of all machines and all times."""

    host: str
    """Host name, for messages."""
    pid: int
    """Process number within its namespace."""
    boot: str = ""
    """First 12 hexadecimal digits of the boot identifier of its machine; empty where that is not known."""
    namespace: int = 0
    """Number of its PID namespace; 0 where that is not known."""
    started: int = 0
    """Start time, clock ticks since boot; 0 where that is not known."""

    @property
    def mark(self) -> str:
        """Return the identity as a part of a file name."""
        return f"{self.host}-{self.boot or 0}-{self.namespace}-{self.pid}-{self.started}"

    @classmethod
    def from_mark(cls, mark: str) -> Process | None:
        """Read an identity from a `mark`; None where it is none."""
        found = _MARK.fullmatch(mark)
        if found is None:
            return None
        boot = "" if found["boot"] == "0" else found["boot"]
        return cls(found["host"], int(found["pid"]), boot, int(found["namespace"]), int(found["started"]))

    def to_json(self) -> dict[str, object]:
        """Return a mapping that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> Process | None:
        """Read the result of `to_json`, or of an older version with host and pid alone; None where it is neither."""
        host, boot = content.get("host"), content.get("boot", "")
        pid, namespace, started = content.get("pid"), content.get("namespace", 0), content.get("started", 0)
        if not (isinstance(host, str) and isinstance(boot, str)):
            return None
        if not (isinstance(pid, int) and isinstance(namespace, int) and isinstance(started, int) and pid > 0):
            return None
        return cls(host, pid, boot, namespace, started)


def judge(process: Process, here: Process, started: int | None) -> Verdict:
    """Judge whether a process still runs.

    Parameters
    ----------
    process : Process
        The process.
    here : Process
        A process that can be seen from here, such as this one.
    started : int or None
        Start time of the process with its number here; 0 where that is not known, None where there is none.
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
    """Return whether a process still runs."""
    return judge(process, this_process(), find_start(process.pid))


def this_process() -> Process:
    """Return the identity of this process."""
    return _identity(os.getpid())


@lru_cache(maxsize=1)
def _identity(pid: int) -> Process:  # the number changes where the process forks
    return Process(socket.gethostname(), pid, _boot(), _namespace(), find_start(pid) or 0)


def find_start(pid: int) -> int | None:
    """Return the start time of a process of this namespace, clock ticks since boot; see `judge`."""
    if not _is_there(pid):
        return None
    try:
        if Path("/proc/self").readlink() != Path(str(os.getpid())):
            return 0  # it shows the processes of another namespace
        # The name of the program, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        state, n_threads, started = fields[0], int(fields[17]), int(fields[19])
    except (OSError, ValueError, IndexError):
        # It ended just now; or there is no such file system, or one that hides the processes of others.
        return 0 if _is_there(pid) else None
    # Killed, and its parent has not asked how it ended.
    return None if state in "ZX" and n_threads <= 1 else started


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # of another user
    return True


def is_suspended(pid: int) -> bool:
    """Return whether a process of this namespace is stopped by a signal (SIGSTOP, Ctrl-Z) or a debugger."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in "Tt"


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
