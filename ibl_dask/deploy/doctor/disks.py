"""Measurements of disks: speed, free space, quotas, permissions, and the delay of files of another machine."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.store.quota import print_quotas, read_quotas

_BLOCK_BYTES = 4_000_000
_N_SMALL = 10
_QUOTA_S = 10.0


@dataclass(frozen=True, slots=True)
class Disk:
    """Speed and free space of a folder, measured by writing and reading files."""

    folder: str
    """The folder."""
    free_gb: float = 0.0
    """Free space, GB."""
    write_mb_s: float = 0.0
    """Rate of writing one large file, including `fsync`, MB/s."""
    read_mb_s: float = 0.0
    """Rate of reading it back, MB/s; from disk where the system drops its cache on request."""
    small_file_ms: float = 0.0
    """Time to write one small file, including `fsync`, and rename it, ms."""
    problem: str = ""
    """Error of the folder; empty without one."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """Attributes of a file that this process created."""

    mode: int = 0
    """Its permissions, such as 0o640."""
    owner: str = ""
    """Its owner."""
    group: str = ""
    """Its group."""


def measure_disk(folder: Path, n_mb: int) -> Disk:
    """Measure a folder with files that are removed afterwards; `n_mb` is the size of the large one, MB."""
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
        round(small_s * 1000, 3),
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
    """Return the time to write a marker as runs do, s: the median of `_N_SMALL`."""
    times_s = []
    temporary = _small(path)
    for number in range(_N_SMALL):
        start_s = time.perf_counter()
        _write(temporary, b"%d" % number, 1)
        temporary.replace(path)
        times_s.append(time.perf_counter() - start_s)
    return sorted(times_s)[_N_SMALL // 2]


def inspect_new_file(folder: Path) -> NewFile:
    """Create a file as any program does, and return its permissions, owner and group."""
    path = folder / _own_name()
    try:
        path.touch()
        found = path.stat()
    except OSError:
        return NewFile()
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return NewFile(
        stat.S_IMODE(found.st_mode), _name_of(pwd.getpwuid, found.st_uid), _name_of(grp.getgrgid, found.st_gid)
    )


def _name_of(look_up: Callable[[int], Sequence[object]], number: int) -> str:
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)


def read_quota() -> str:
    """Return the lines of `quota` about disks that are nearly full; empty without any, or without the command."""
    return "; ".join(nearly_full(print_quotas(_QUOTA_S)))


def nearly_full(text: str) -> list[str]:
    """Return the disks in the output of `quota -w -p` that exceed 90 % of a limit.

    >>> nearly_full('''Disk quotas for user me (uid 1):
    ... Filesystem  blocks quota limit grace files quota limit grace
    ... nas:/home   95000  100000 110000 0   10    0    0     0''')
    ['nas:/home: 95,000 of 100,000 blocks']
    """
    return [
        f"{quota.filesystem}: {quota.used:,} of {quota.limit:,} {quota.unit}"
        for quota in read_quotas(text)
        if quota.used > 0.9 * quota.limit
    ]


@dataclass(frozen=True, slots=True)
class SeenFile:
    """Appearance of a file that another process wrote."""

    waited_s: float
    """Time until it appeared, s."""
    problem: str = ""
    """Difference from the expected file; empty if it appeared."""


def look_for(path: Path, content: str | None, wait_s: float) -> SeenFile:
    """Wait for a file, or a folder, that another process creates.

    Parameters
    ----------
    path
        Its path.
    content
        Expected content; None for a folder.
    wait_s
        Maximum time, s.
    """
    start_s = time.monotonic()
    while True:
        problem = _looks_wrong(path, content)
        waited_s = time.monotonic() - start_s
        if not problem or waited_s > wait_s:
            return SeenFile(round(waited_s, 3), problem)
        time.sleep(min(0.1, wait_s / 10))


def _looks_wrong(path: Path, content: str | None) -> str:
    try:
        if content is None:
            # Listing fills the caches that delay the appearance of a file, as a run does.
            list(path.iterdir())
            return ""
        found = path.read_text()
    except FileNotFoundError:
        return "nothing"
    except OSError as error:
        return error.strerror or str(error)
    return "" if found == content else "a file with another content"


def write_token(path: Path, content: str) -> str:
    """Write a file for another process; return the error, empty without one."""
    try:
        path.write_text(content)
    except OSError as error:
        return error.strerror or str(error)
    return ""
