"""The program as its user calls it, in a process of its own, and what is on disk before and after."""

import hashlib
import os
import stat
import subprocess
import sys

import forked_program
import pytest

PROGRAM = [sys.executable, "-c", "from ibl_dask.cli.app import main; main()"]

_GIVE_UP = """
import ctypes, os, sys
if os.geteuid() == 0:
    for power in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        assert ctypes.CDLL(None).prctl(24, power, 0, 0, 0) == 0, "permission bits do not hold root back"
os.execv(sys.argv[1], sys.argv[1:])
"""
WITHOUT_POWERS = [sys.executable, "-I", "-S", "-c", _GIVE_UP]
"""Prefix of a command that permission bits shall hold back: root loses the power to pass over them."""


NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]
"""Prefix of a command that sees no process but its own, as in a container."""


def _may_unshare():
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_namespaces = pytest.mark.skipif(not _may_unshare(), reason="namespaces of processes may not be made here")


def environment(**more):
    return {**os.environ, "COLUMNS": "200", **more}


def call(*arguments, prefix=(), cwd=None, **more):
    """Run the program; return exit code and everything it printed."""
    given = list(map(str, arguments))
    if prefix and prefix != WITHOUT_POWERS:
        process = subprocess.run(
            [*prefix, *PROGRAM, *given],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment(**more),
            check=False,
            timeout=120,
        )
        code, text = process.returncode, process.stdout + process.stderr
    else:
        powers = {"without_powers": prefix == WITHOUT_POWERS}
        code, out, err = forked_program.call(*given, cwd=cwd, env=environment(**more), **powers)
        text = out + err
    assert "Traceback" not in text, text
    return code, text


def run(folder, *arguments, **more):
    """Run a session without workers."""
    return call("run", folder, "--workers", "0", *arguments, **more)


def says(text, *parts):
    for part in parts:
        assert str(part) in text, f"{part!r} not in:\n{text}"


def on_disk(folder):
    """Return all that is below a folder: kind and permissions, time of the last change, content or aim of a link."""
    out = {}
    for path in [folder, *folder.rglob("*")]:
        found = path.lstat()
        if path.is_symlink():
            content = str(path.readlink())
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(found.st_mode) else ""
        out[str(path)] = (found.st_mode, found.st_mtime_ns, content)
    return out
