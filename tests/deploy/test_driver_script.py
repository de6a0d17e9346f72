"""The script that runs a driver in a job of PBS, with commands that only note what they are given."""

import os
import subprocess

import pytest

NOTING = '#!/bin/bash\nprintf "%s\\n" "$@" >>"$NOTES/{name}"\n'


@pytest.fixture
def called(tmp_path, pytestconfig):
    """Return a function that runs the script as PBS would, and returns what it called with which arguments."""
    for name, then in (("qsub", ""), ("ibl-dask", "sleep 60\n")):
        path = tmp_path / name
        path.write_text(NOTING.format(name=name) + then)
        path.chmod(0o755)
    script = pytestconfig.rootpath / "cluster" / "driver.pbs.sh"

    def call(**variables):
        notes = tmp_path / "notes"
        notes.mkdir(exist_ok=True)
        for path in notes.iterdir():
            path.unlink()
        known = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "NOTES": str(notes), "SCRIPT": str(script)}
        # A second before the script's own clock stops the driver.
        environment = {**os.environ, **known, "WALLTIME_S": "301", **variables}
        environment.pop("IBL_DASK", None)
        done = subprocess.run(
            ["bash", script], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        found = {path.name: path.read_text().splitlines() for path in notes.iterdir()}
        return done.returncode, found, done.stdout + done.stderr

    return call


def given_by(arguments):
    """Return the variables of `qsub -v` as every PBS reads them where no value holds a comma or a quote."""
    text = arguments[arguments.index("-v") + 1]
    assert not set(text) & set("\"'\\")
    return dict(one.split("=", 1) for one in text.split(","))


OPTIONS = {
    "a comma": ("--raw-video keep --tasks A%2CB", ["--raw-video", "keep", "--tasks", "A,B"]),
    "quotes and signs": ("--work-dir /o'clock/50%25off/a\\b", ["--work-dir", "/o'clock/50%off/a\\b"]),
}


@pytest.mark.parametrize(("options", "expected"), OPTIONS.values(), ids=OPTIONS)
def test_a_driver_that_is_submitted_again_gets_the_same_options(called, options, expected):
    code, found, said = called(PROFILE="a%2Cb.yaml", SESSIONS="/shared/one /shared/x,y", OPTIONS=options)
    assert code == 124, said
    first = ["run", "--profile", "a,b.yaml", "/shared/one", "/shared/x,y", *expected]
    assert found["ibl-dask"] == first
    again = given_by(found["qsub"])
    code, found, said = called(**again)
    assert (code, found["ibl-dask"]) == (124, first), said
    assert given_by(found["qsub"]) == again
