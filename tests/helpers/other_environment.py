"""A package of another environment, with tasks as the field writes them; and a python that can import it."""

import sys
from pathlib import Path

PACKAGE = '''
import logging, os, subprocess, sys, time, traceback
from pathlib import Path

log = logging.getLogger("elsewhere")


class File:
    """What a signature of such a package holds."""

    operator = None

    def __init__(self, name):
        self.glob_pattern = name

    def find_files(self, root):
        files = sorted(Path(root).rglob(self.glob_pattern))
        return bool(files), files, None if files else self.glob_pattern


class Task:
    version = "1.2.3"
    reads, leaves = (), ()

    def __init__(self, session_path, one=None, location="server", **kwargs):
        self.session_path, self.location, self.kwargs = Path(session_path), location, kwargs
        assert one is None
        self.outputs, self.log, self.status, self.force = None, "", None, False
        self.input_files = [File(name) for name in self.reads]
        self.output_files = [File(name) for name in self.leaves]

    def setUp(self, **kwargs):
        return True

    def run(self, **kwargs):
        self.status = 0
        try:
            self.setUp(**kwargs)
            self.outputs = self._run(**kwargs)
        except Exception:
            self.log += traceback.format_exc()
            self.status = -1
        return self.status


class Copies(Task):
    """Writes what it was given, and where it ran."""

    reads, leaves = ("raw/in.txt",), ("alf/out.txt",)

    def _run(self, overwrite=False, **kwargs):
        out = self.session_path / "alf" / "out.txt"
        out.parent.mkdir(exist_ok=True)
        text = (self.session_path / "raw" / "in.txt").read_text()
        out.write_text(repr((text, self.kwargs, self.location, self.force, os.environ["HOME"], os.getcwd())))
        with (self.session_path / "runs.txt").open("a") as file:
            file.write("x")
        self.log += "copied"
        print("said aloud")
        return [out]


class Empty(Task):
    def _run(self, **kwargs):
        return None


class Forgets(Task):
    leaves = ("alf/never.txt",)

    def _run(self, **kwargs):
        return []


class LeavesNothingInIt(Forgets):
    def _run(self, **kwargs):
        path = self.session_path / "alf" / "never.txt"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return [path]


class Fails(Task):
    def _run(self, **kwargs):
        print("the last words", file=sys.stderr)
        raise ZeroDivisionError("a bug of theirs")


class LacksFile(Task):
    reads = ("raw/absent.txt",)

    def _run(self, **kwargs):
        (self.session_path / "raw" / "absent.txt").read_text()


class LacksModule(Task):
    def _run(self, **kwargs):
        import a_module_that_nobody_has


class Dies(Task):
    def _run(self, **kwargs):
        os.kill(os.getpid(), 9)


class Incomplete(Task):
    def _run(self, **kwargs):
        self.status = -3
        return []

    def run(self, **kwargs):
        super().run(**kwargs)
        return self.status


class Sleeps(Task):
    """Starts a process of its own, notes both, and sleeps."""

    def _run(self, **kwargs):
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (self.session_path / "pids.txt").write_text(f"{os.getpid()} {other.pid}")
        time.sleep(600)
'''


def make_environment(folder: Path, name: str = "elsewhere") -> Path:
    """Write the package, and return a python that imports it."""
    package = folder / "site"
    package.mkdir(parents=True)
    (package / f"{name}.py").write_text(PACKAGE)
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{package}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python
