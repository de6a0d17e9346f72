"""How disks fare: speed, room, quotas, permissions, and whether two machines see the same files."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 4_000_000
_N_SMALL = 10
_QUOTA_S = 10.0


@dataclass(frozen=True, slots=True)
class Disk:
    """How a folder fared when files were written and read there."""

    folder: str
    """The folder."""
    free_gb: float = 0.0
    """Room that is left, GB."""
    write_mb_s: float = 0.0
    """Writing one large file until it is on disk, MB/s."""
    read_mb_s: float = 0.0
    """Reading it back, MB/s; past the memory of the system where that lets itself be asked to forget."""
    small_file_ms: float = 0.0
    """Writing one small file until it is on disk, and giving it its name, ms."""
    problem: str = ""
    """Why it could not be used."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the system made of a file that this process wrote."""

    mode: int = 0
    """Its permissions, such as 0o640."""
    owner: str = ""
    """User that it belongs to."""
    group: str = ""
    """Group that it belongs to."""


def measure_disk(folder: Path, n_mb: int) -> Disk:
    """Write and read some files in a folder, and remove them."""
    path = folder / _own_name()
    block = os.urandom(_BLOCK_BYTES)
    n_blocks = max(1, n_mb * 1_000_000 // _BLOCK_BYTES)
    try:
        written_s = _write(path, block, n_blocks)
        read_s = _read(path)
        small_s = _write_small(path)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Disk(str(folder), problem=f"{error.strerror or error} ({error.filename or folder})")
    finally:
        for left in (path, _small(path)):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)
    n_written = n_blocks * _BLOCK_BYTES / 1e6
    return Disk(
        str(folder),
        round(free / 1e9, 1),
        round(n_written / written_s, 1),
        round(n_written / read_s, 1),
        round(small_s * 1000, 1),
    )


def _own_name() -> str:
    return f".doctor-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def _small(path: Path) -> Path:
    return path.with_name(f"{path.name}.small")


def _write(path: Path, block: bytes, n_blocks: int) -> float:
    start_s = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(n_blocks):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - start_s


def _read(path: Path) -> float:
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start_s = time.perf_counter()
        while file.read(_BLOCK_BYTES):
            pass
    return time.perf_counter() - start_s


def _write_small(path: Path) -> float:
    """Return how long it takes to write a marker as runs do, s; the middle one of some."""
    times_s = []
    temporary = _small(path)
    for number in range(_N_SMALL):
        start_s = time.perf_counter()
        _write(temporary, b"%d" % number, 1)
        temporary.replace(path)
        times_s.append(time.perf_counter() - start_s)
    return sorted(times_s)[_N_SMALL // 2]


def look_at_file(folder: Path) -> Made:
    """Make a file as any program makes one, and look at its permissions, owner and group."""
    path = folder / _own_name()
    try:
        path.touch()
        found = path.stat()
    except OSError:
        return Made()
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return Made(stat.S_IMODE(found.st_mode), _name_of(pwd.getpwuid, found.st_uid), _name_of(grp.getgrgid, found.st_gid))


def _name_of(look_up: Any, number: int) -> str:
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)


def read_quota() -> str:
    """Return the lines of `quota` about disks where little room is left."""
    command = shutil.which("quota")
    if command is None:
        return ""
    try:
        said = subprocess.run(
            [command, "-w", "-p"], capture_output=True, text=True, timeout=_QUOTA_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(nearly_full(said))


def nearly_full(said: str) -> list[str]:
    """Return what `quota -w -p` says of disks that are over 90 % of a limit.

    >>> nearly_full('''Disk quotas for user me (uid 1):
    ... Filesystem  blocks quota limit grace files quota limit grace
    ... nas:/home   95000  100000 110000 0   10    0    0     0''')
    ['nas:/home: 95,000 of 100,000 blocks']
    """
    found = []
    for line in said.splitlines():
        words = line.split()
        # Used, soft and hard limit, of blocks and of files; between them how long more is allowed. A star: over it.
        numbers = [word.rstrip("*") for word in (*words[1:4], *words[5:8])]
        if len(numbers) < 6 or not all(number.isdigit() for number in numbers):
            continue
        for what, (used, *limits) in (("blocks", map(int, numbers[:3])), ("files", map(int, numbers[3:]))):
            limit = min((limit for limit in limits if limit > 0), default=0)
            if limit and used > 0.9 * limit:
                found.append(f"{words[0]}: {used:,} of {limit:,} {what}")
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether a file that another process wrote could be read."""

    waited_s: float
    """How long it took to appear, s."""
    problem: str = ""
    """What was there instead of it."""


def look_for(path: Path, content: str | None, wait_s: float) -> Seen:
    """Wait for a file, or a folder, that another process makes.

    Parameters
    ----------
    path
        Its path.
    content
        What it must hold; None for a folder.
    wait_s
        How long to wait, s.
    """
    start_s = time.monotonic()
    while True:
        problem = _looks_wrong(path, content)
        waited_s = time.monotonic() - start_s
        if not problem or waited_s > wait_s:
            return Seen(round(waited_s, 3), problem)
        time.sleep(min(0.1, wait_s / 10))


def _looks_wrong(path: Path, content: str | None) -> str:
    try:
        if content is None:
            # Listing it too fills the caches that make a file appear late, as a run does.
            list(path.iterdir())
            return ""
        found = path.read_text()
    except FileNotFoundError:
        return "nothing"
    except OSError as error:
        return error.strerror or str(error)
    return "" if found == content else "a file with another content"


def write_token(path: Path, content: str) -> str:
    """Write a file for another process; return why that cannot be done, empty where it can."""
    try:
        path.write_text(content)
    except OSError as error:
        return error.strerror or str(error)
    return ""
