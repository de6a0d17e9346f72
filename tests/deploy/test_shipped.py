"""What `cluster/` holds: profiles that are understood, and driver scripts that do what they say."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program import call, says

from ibl_dask.deploy.cluster.job_script import job_script
from ibl_dask.deploy.site.schema import _PoolSchema, _SiteSchema, read_profile

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
BATCH = ["slurm", "pbs"]
DRIVERS = ["driver.slurm.sh", "driver.pbs.sh"]


def test_every_shipped_profile_is_understood():
    found = {path.stem: read_profile(path) for path in CLUSTER.glob("*.yaml")}
    assert found.keys() == {"laptop", *BATCH}
    assert found["laptop"].is_local
    for name in BATCH:
        assert [(pool.name, pool.scheduler, pool.kind) for pool in found[name].pools] == [
            ("cpu", name, "CPU"),
            ("gpu", name, "GPU"),
        ]


@pytest.mark.parametrize("name", BATCH)
def test_a_shipped_profile_shows_every_key_with_a_comment(name):
    """Keys are shown in use, or behind a # as they would be used."""
    text = (CLUSTER / f"{name}.yaml").read_text()
    shown = set(re.findall(r"^ *(?:# )?([a-z_]+):", text, re.MULTILINE))
    keys = {*_SiteSchema.model_fields, *_PoolSchema.model_fields} - {"workers", "memory_gb"}
    assert keys <= shown


@pytest.mark.parametrize("name", BATCH)
def test_a_shipped_profile_with_every_key_in_use_is_understood(name, tmp_path):
    """What stands behind a # is right as well."""
    lines = (CLUSTER / f"{name}.yaml").read_text().splitlines()
    words = re.compile(r"^( *)# ( *(?:[a-z_0-9]+: .*|[a-z_]+: *#.*|- -.*))$")
    used = [found[1] + found[2] if (found := words.match(line)) else line for line in lines]
    path = tmp_path / "used.yaml"
    path.write_text("\n".join(used))
    profile = read_profile(path)
    assert profile.umask == 0o027
    assert dict(profile.environments) == {"ephys": "/shared/envs/ephys/bin/python"}
    assert profile.engines["eye"].weights == Path("/shared/weights/eye.onnx")
    assert all(pool.directives for pool in profile.pools)
    assert all(job_script(profile, pool, "x-0", "tcp://a:1", log_folder=tmp_path) for pool in profile.pools)


def test_the_document_explains_every_key():
    text = (ROOT / "docs" / "clusters.md").read_text()
    missing = [key for key in {**_SiteSchema.model_fields, **_PoolSchema.model_fields} if f"`{key}`" not in text]
    assert not missing


@pytest.mark.parametrize("name", BATCH)
def test_jobscript_prints_what_would_be_submitted_and_nothing_else(name, tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text((CLUSTER / f"{name}.yaml").read_text().replace("/shared/$USER/ibl_dask", str(tmp_path / "work")))
    command = [sys.executable, "-c", "from ibl_dask.cli.app import main; main()", "jobscript", "--profile", str(path)]
    both = subprocess.run(command, capture_output=True, text=True, check=True)
    one = subprocess.run([*command, "--pool", "gpu"], capture_output=True, text=True, check=True)
    assert both.stdout.count("#!/usr/bin/env bash\n") == 2
    assert both.stdout.endswith(one.stdout)
    assert one.stdout.startswith("#!")
    profile = read_profile(path)
    logs = tmp_path / "work" / "jobs"
    text = job_script(profile, profile.pools[1], "gpu-0", "tls://DRIVER:PORT", Certificates(logs), log_folder=logs)
    assert one.stdout == text
    assert list(tmp_path.iterdir()) == [path], "nothing is written"


class Certificates:
    require_encryption = True

    def __init__(self, folder):
        self.folder = folder / "tls-RUN"

    def get_tls_config_for_role(self, role):
        return {
            "ca_file": self.folder / "ca.pem",
            "cert": self.folder / f"{role}-cert.pem",
            "key": self.folder / f"{role}-key.pem",
        }


def test_jobscript_says_what_it_cannot_show():
    code, text = call("jobscript", "--profile", CLUSTER / "laptop.yaml")
    assert code == 2
    says(text, "this profile submits no jobs", "cluster/slurm.yaml")
    code, text = call("jobscript", "--profile", CLUSTER / "pbs.yaml", "--pool", "x")
    assert code == 2
    says(text, "there is no such pool", "one of cpu, gpu", "--pool x")


def test_plan_says_which_pools_a_run_would_use(session_folder, tmp_path):
    code, text = call("plan", session_folder, "--profile", CLUSTER / "slurm.yaml", "--work-dir", tmp_path / "work")
    assert code == 0, text
    says(text, "steps on 0 to 20 jobs of 8 workers", "note: nobody uses pool gpu", "cluster/slurm.yaml, line ")
    says(text, "on 160 workers (my_slurm)")


@pytest.mark.parametrize("name", DRIVERS)
def test_driver_scripts_are_good_shell(name):
    shellcheck = Path(sys.executable).with_name("shellcheck")
    told = subprocess.run([shellcheck, CLUSTER / name], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


DRIVER = """#!/bin/bash
echo "started with: $*" >> calls
trap 'echo told >> calls; exit 143' TERM
echo $$ > driver.pid
if [ -e stays ]; then while true; do sleep 0.05; done; fi
exit "$(cat code 2>/dev/null || echo 0)"
"""
BATCH_COMMAND = '#!/bin/bash\necho "$(basename "$0") $*" >> calls\n'


@pytest.fixture
def node(tmp_path):
    """Return a folder with a driver and batch commands that write down how they were called."""
    for name, text in (
        ("ibl-dask", DRIVER),
        ("scontrol", BATCH_COMMAND),
        ("qsub", BATCH_COMMAND),
        ("sleep", '#!/bin/bash\n[ "$1" = 60 ] || exec /bin/sleep "$@"\n'),
    ):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "cluster").symlink_to(CLUSTER)
    return tmp_path


def start(node, name, **environment):
    environment = {
        **os.environ,
        "PATH": f"{node / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "12",
        "PROFILE": "site.yaml",
        "SESSIONS": "Subjects more",
        **environment,
    }
    environment.pop("PBS_O_WORKDIR", None)
    arguments = ["site.yaml", "Subjects", "more"] if name == "driver.slurm.sh" else []
    return subprocess.Popen(["bash", CLUSTER / name, *arguments], cwd=node, env=environment, stderr=subprocess.DEVNULL)


def is_caught(pid, number):
    """Return whether a process has set a handler for a signal."""
    (line,) = (row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith("SigCgt:"))
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def signalled(node, name, number, **environment):
    """Run a driver that does not end by itself, send its job a signal, and return exit code and calls."""
    (node / "stays").touch()
    job = start(node, name, **environment)
    deadline = time.monotonic() + 20
    while not (node / "driver.pid").exists() or not (node / "driver.pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if number is not None:
        while not is_caught(job.pid, number):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        job.send_signal(number)
    return job.wait(20), (node / "calls").read_text().splitlines()


STARTED = "started with: run --profile site.yaml Subjects more"


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("code", [0, 1])
def test_a_driver_in_a_job_ends_with_its_exit_code(node, name, code):
    (node / "code").write_text(str(code))
    assert start(node, name).wait(20) == code
    assert (node / "calls").read_text().splitlines() == [STARTED]


def test_before_its_walltime_a_slurm_driver_is_stopped_and_queued_again(node):
    code, calls = signalled(node, "driver.slurm.sh", signal.SIGUSR1)
    assert calls == [STARTED, "told", "scontrol requeue 12"]
    assert code == 143


def test_before_its_walltime_a_pbs_driver_is_stopped_and_submitted_again(node):
    code, calls = signalled(node, "driver.pbs.sh", None, WALLTIME_S="301", OPTIONS="--overwrite")
    again = "PROFILE=site.yaml,SESSIONS=Subjects more,OPTIONS=--overwrite,WALLTIME_S=301,IBL_DASK=ibl-dask"
    script = "cluster/driver.pbs.sh"
    assert calls == [f"{STARTED} --overwrite", "told", f"qsub -v {again},SCRIPT={script} {script}"]
    assert code == 124


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_whose_job_is_cancelled_stops_and_does_not_come_back(node, name):
    code, calls = signalled(node, name, signal.SIGTERM)
    assert calls == [STARTED, "told"]
    assert code == 143


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_that_is_not_on_the_node_is_named(node, name):
    (node / "bin" / "ibl-dask").unlink()
    environment = {"IBL_DASK": "no-such-program"}
    assert start(node, name, **environment).wait(20) == 2
