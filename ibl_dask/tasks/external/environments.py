"""Environments of the tasks of other packages: their labels, places and contents."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from ibl_dask.errors import MissingEnvironment
from ibl_dask.model.choices import nearest
from ibl_dask.model.web_address import require_address
from ibl_dask.tasks.catalogue import FIELD, find_row

TOKEN_VARIABLES = ("IBL_DASK_ALYX_TOKEN", "IBL_DASK_ALYX_TOKEN_FILE")
"""Variables of the token of the database, which tasks that do not need it do not get."""
VARIABLE = "IBL_DASK_PYTHON_"
"""Prefix of the variables that hold the python of an environment; its label in capitals follows."""
PROBE_S = 120
"""Time limit for listing the packages of an environment on a slow disk, s."""
_LOOKED_UP_EVERY_S = 10.0
"""Interval at which it is looked up whether ibllib is in this environment, s: a session asks for each of its tasks."""
_PROBE = """
import importlib.metadata, importlib.util, json, sys
is_there = importlib.util.find_spec(sys.argv[1]) is not None
try:
    version = importlib.metadata.version(sys.argv[1])
except importlib.metadata.PackageNotFoundError:
    version = ""
print(json.dumps([is_there, version]))
"""


@dataclass(frozen=True, slots=True)
class Database:
    """The field's database, for tasks that work on it themselves. The token is not part of it."""

    url: str
    """Address."""
    user: str
    """User whose token it is."""
    token_file: str = ""
    """File with the token, which each worker sees; empty where the token is in a variable of the workers."""

    def __post_init__(self) -> None:
        url = require_address(self.url, "an Alyx", "correct the address; user and token are given apart from it")
        object.__setattr__(self, "url", url)

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that no log may hold: the token, from its file and from the variables of this process."""
        text, file = (os.environ.get(name, "") for name in TOKEN_VARIABLES)
        found = [text.strip()]
        for path in filter(None, (self.token_file, file)):
            with contextlib.suppress(OSError, ValueError):  # the task itself reports that it cannot be read
                found.append(Path(path).read_text(encoding="utf-8").strip())
        return tuple(filter(None, found))


@dataclass(frozen=True, slots=True)
class Environments:
    """The environments of a site, by label: ibllib, dlc, litpose, mpci, iblsorter, ..."""

    places: Mapping[str, str] = field(default_factory=dict)
    """Label -> folder of the environment, or its python."""
    database: Database | None = None
    """The database; None where tasks run on files alone."""

    def python_of(self, label: str) -> Path:
        """Return the python of an environment.

        Looked up among the `places`, then in `$IBL_DASK_PYTHON_<LABEL>`; `ibllib` is this very environment where that
        holds it.

        Raises
        ------
        MissingEnvironment
            If none is known, or it is not there.
        """
        variable = VARIABLE + label.upper().replace("-", "_")
        place = self.places.get(label) or os.environ.get(variable)
        if place is None and label == FIELD and _is_beside(FIELD, int(time.monotonic() / _LOOKED_UP_EVERY_S)):
            return Path(sys.executable)
        wanted = f"the python of an environment `{label}`: under `environments:` of the site profile, or in ${variable}"
        if place is None:
            misspelt = nearest(label, self.places)
            raise MissingEnvironment(
                f"no environment {label!r} is known",
                expected=wanted,
                got="neither" if misspelt is None else f"neither, but an environment {misspelt!r}",
                do=("" if misspelt is None else f"write {label} in place of {misspelt}, if that was meant; or ")
                + f"say where it is: export {variable}=/path/to/{label}/bin/python"
                + _how_to_install(label),
            )
        path = Path(place).expanduser().absolute()
        python = path / "bin" / "python" if path.is_dir() else path
        if not os.access(python, os.X_OK):
            raise MissingEnvironment(
                f"the environment {label!r} is not there",
                where=str(python),
                expected=wanted,
                got="no program at this path",
                do="check the path, and that this computer sees that disk",
            )
        return python

    def holding(self, label: str, package: str) -> tuple[Path, str]:
        """Return the python of an environment that holds a package, and the version of that.

        Raises
        ------
        MissingEnvironment
            If there is none; see `python_of`.
        """
        python = self.python_of(label)
        is_there, version, complaint = _probe(str(python), package)
        if not is_there:
            raise MissingEnvironment(
                f"the environment {label!r} does not hold {package}",
                where=str(python),
                expected=f"an environment in which `import {package}` works",
                got=complaint or "no such package",
                do=f"install {package} there, or name another environment",
            )
        return python, version

    def serving(self, label: str, executable: str) -> tuple[Path, str]:
        """Return the python of an environment that holds all that a task calls, and the version of the task's package.

        Raises
        ------
        MissingEnvironment
            If there is none; see `holding`.
        """
        found = self.holding(label, executable.split(".")[0])
        row = find_row(executable)
        for package in () if row is None else row.imports:
            self.holding(label, package)
        return found


def as_environments(given: Environments | Mapping[str, str] | None) -> Environments:
    """Return environments that are given as such, or as a mapping of labels to places."""
    return given if isinstance(given, Environments) else Environments(given or {})


def _how_to_install(label: str) -> str:
    return "; or install it beside this package: pip install 'ibl_dask[ibllib]'" if label == FIELD else ""


@lru_cache(maxsize=8)
def _is_beside(package: str, period: int) -> bool:  # the period limits how long an answer is kept
    """Return whether a package is in this very environment: it may be installed while sessions run."""
    return find_spec(package) is not None


@lru_cache(maxsize=64)
def _probe(python: str, package: str) -> tuple[bool, str, str]:
    """Return True if an environment holds a package, with its version, or the error."""
    try:
        done = subprocess.run(
            [python, "-c", _PROBE, package],
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=False,
            env=clean_environment(Path(python)),
            stdin=subprocess.DEVNULL,
        )
        is_there, version = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return False, "", f"a python that does not answer within {PROBE_S} s"
    except (OSError, ValueError) as error:
        return False, "", f"a python that does not work: {error}"
    return bool(is_there), str(version), ""


def clean_environment(python: Path) -> dict[str, str]:
    """Return the variables for a python of another environment, without those meant for this one."""
    variables = {name: value for name, value in os.environ.items() if name not in TOKEN_VARIABLES}
    if python != Path(sys.executable):
        for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX"):
            variables.pop(name, None)
    variables["PATH"] = os.pathsep.join([str(python.parent), variables.get("PATH", os.defpath)])
    return variables
