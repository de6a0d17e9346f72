"""Parsers of single values of a profile; each raises `ValueError` for a value it does not accept.

The message of a `ValueError` that begins with `no ` adds nothing to the description of the key, and is not shown.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shlex
from pathlib import Path
from string import Template

from ibl_dask.deploy.batch_systems.formats import parse_duration
from ibl_dask.deploy.batch_systems.registry import BATCH_SYSTEMS
from ibl_dask.deploy.site.profile import LOCAL

_UNITS_GB = {"MB": 1e-3, "GB": 1.0, "TB": 1e3, "MIB": 2**20 / 1e9, "GIB": 2**30 / 1e9, "TIB": 2**40 / 1e9}


def parse_scheduler(value: object) -> str:
    """Return the name of a batch system, or `local`."""
    if not isinstance(value, str) or value not in (LOCAL, *BATCH_SYSTEMS):
        raise ValueError("no scheduler")
    return value


def parse_memory_gb(value: object) -> float:
    """Return a size with its unit in GB (1e9 bytes).

    >>> parse_memory_gb("4 GB"), parse_memory_gb("1500MB")
    (4.0, 1.5)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B)", str(value).strip(), re.IGNORECASE)
    if found is None or found[2].upper() not in _UNITS_GB:
        raise ValueError("no size with a unit")
    return float(found[1]) * _UNITS_GB[found[2].upper()]


def parse_walltime_s(value: object) -> int:
    """Return a walltime, `hh:mm:ss` or `d-hh:mm:ss`, in s.

    >>> parse_walltime_s("04:00:00"), parse_walltime_s("1-00:30:00")
    (14400, 88200)
    """
    seconds = parse_duration(str(value))
    if seconds is None:
        raise ValueError("no walltime")
    return seconds


def parse_pause_s(value: object) -> int:
    """Return a duration, `hh:mm:ss` or `d-hh:mm:ss`, in s; 0 stands for none."""
    return 0 if str(value).strip() == "0" else parse_walltime_s(value)


def parse_max_failures(value: object) -> str:
    """Return a number of sessions (`20`), or a share of them (`5%`)."""
    found = re.fullmatch(r"(\d+)|(\d{1,3}(?:\.\d+)?)%", str(value).strip())
    if found is None or float(found[2] or 0) > 100 or isinstance(value, bool):
        raise ValueError("no number of sessions")
    return found[0]


def parse_umask(value: object) -> int:
    """Return permission bits, which are octal with or without a prefix, as for the command `umask`."""
    found = re.fullmatch(r"(?:0o)?([0-7]{1,4})", str(value).strip())
    if found is None or int(found[1], 8) > 0o777:
        raise ValueError("no permission bits")
    return int(found[1], 8)


def parse_folder(value: object) -> Path:
    """Return a folder that the driver sees, with the variables and the home of its user expanded."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("no path")
    known = dict(os.environ)
    with contextlib.suppress(KeyError, OSError):  # in a container the user may be a number without a name
        known.setdefault("USER", getpass.getuser())
    try:
        path = Template(value).substitute(known)
    except KeyError as error:
        raise ValueError(f"the variable {error.args[0]} is not set") from error
    return Path(path).expanduser().absolute()


def parse_command(value: object) -> str:
    """Return a command that can be split into words as a shell does."""
    if not isinstance(value, str) or "\0" in value or not shlex.split(value):
        raise ValueError("no command")
    return value.strip()


def parse_words(value: object) -> tuple[str, ...]:
    """Return a program and its arguments, given as a list of words or as one line that is split as a shell does.

    >>> parse_words("mail -s 'a run' me@lab.org")
    ('mail', '-s', 'a run', 'me@lab.org')
    """
    words = shlex.split(value) if isinstance(value, str) else value
    if (
        not isinstance(words, list)
        or not words
        or not all(isinstance(word, str) and "\0" not in word for word in words)
    ):
        raise ValueError("no command")
    if not words[0].strip():
        raise ValueError("no command")
    return (str(Path(words[0]).expanduser()) if words[0].startswith("~") else words[0], *words[1:])
