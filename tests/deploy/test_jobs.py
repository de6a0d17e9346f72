import difflib
import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.deploy.batch_systems.formats import format_duration
from ibl_dask.deploy.batch_systems.registry import BATCH_SYSTEMS
from ibl_dask.deploy.cluster.job_script import _expanding, job_script, make_job
from ibl_dask.deploy.cluster.local_workers import RARE_POLLING, WORKER_ENVIRONMENT
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.deploy.site.walltime import LONGEST_STEP_S, MARGIN_S, shortest_walltime_s, worker_lifetime_s

GOLDEN = Path(__file__).parent / "golden"
SITES = {name: replace(read_profile(GOLDEN / f"{name}.yaml"), source=Path("site.yaml")) for name in BATCH_SYSTEMS}
POOLS = [(name, pool) for name, site in SITES.items() for pool in site.pools]
LOGS = Path("/shared/work/job logs")


class Certificates:
    require_encryption = True

    def get_tls_config_for_role(self, role):
        folder = "/shared/work/job logs/tls"
        return {"ca_file": f"{folder}/ca.pem", "cert": f"{folder}/{role}.pem", "key": f"{folder}/{role}-key.pem"}


def script_of(profile, pool):
    security = None if profile.security == "none" else Certificates()
    address = f"{'tls' if security else 'tcp'}://10.0.0.1:8786"
    return job_script(profile, pool, f"{pool.name}-7", address, security, log_folder=LOGS)


@pytest.mark.parametrize(("site", "pool"), POOLS, ids=[f"{site}_{pool.name}" for site, pool in POOLS])
def test_job_scripts_are_as_written_down(site, pool):
    path = GOLDEN / f"{site}_{pool.name}.sh"
    script = script_of(SITES[site], pool)
    if os.environ.get("IBL_DASK_WRITE_GOLDEN"):
        path.write_text(script)
    expected = path.read_text()
    diff = "".join(difflib.unified_diff(expected.splitlines(True), script.splitlines(True), path.name, "now"))
    assert not diff, f"{diff}\nIf that is meant: IBL_DASK_WRITE_GOLDEN=1 pytest {Path(__file__).name}, and look at it"


def test_every_golden_script_belongs_to_a_pool():
    assert {path.stem for path in GOLDEN.glob("*.sh")} == {f"{site}_{pool.name}" for site, pool in POOLS}


@pytest.mark.parametrize(("site", "pool"), POOLS, ids=[f"{site}_{pool.name}" for site, pool in POOLS])
def test_job_scripts_are_good_shell(site, pool, tmp_path):
    path = tmp_path / "job.sh"
    path.write_text(script_of(SITES[site], pool))
    shellcheck = Path(sys.executable).with_name("shellcheck")
    # What a module is and where `activate` lies is known on the node alone.
    told = subprocess.run([shellcheck, "--exclude=SC1090,SC1091", path], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_a_job_is_one_of_dask_jobqueue_and_writes_nothing(tmp_path):
    for site, pool in POOLS:
        job = make_job(SITES[site], pool, "x-1", "tcp://a:1", log_folder=tmp_path / "logs")
        submit, _, cancel = BATCH_SYSTEMS[site].commands
        assert (job.submit_command, job.cancel_command) == (submit, cancel)
        assert job.job_id is None
    assert not list(tmp_path.iterdir())


def value_after(script, option):
    words = shlex.split(script.splitlines()[-1])
    return words[words.index(option) + 1]


def test_each_worker_has_one_thread_whatever_the_job_has_cores():
    for cores, workers in ((8, 8), (8, 4), (16, 2), (7, 2), (1, 1)):
        pool = Pool("cpu", "slurm", cores=cores, workers_per_job=workers, memory_gb=2.0 * workers)
        script = job_script(Profile(pools=(pool,)), pool, "cpu-0", "tcp://a:1", log_folder=LOGS)
        assert value_after(script, "--nthreads") == "1"
        assert value_after(script, "--resources") == f"CPU={cores // workers},MEMORY_GB=2"
        assert f"--cpus-per-task={cores}\n" in script
        assert f"export OMP_NUM_THREADS={cores // workers}\n" in script
        assert ("--nworkers" in script) == (workers > 1)


@given(st.floats(1, 4000), st.integers(1, 64))
def test_a_worker_offers_exactly_the_memory_that_is_reckoned_with(memory_gb, workers):
    pool = Pool("cpu", "pbs", cores=workers, workers_per_job=workers, memory_gb=memory_gb)
    script = job_script(Profile(pools=(pool,)), pool, "cpu-0", "tcp://a:1", log_folder=LOGS)
    offered = dict(pair.split("=") for pair in value_after(script, "--resources").split(","))
    assert {name: float(amount) for name, amount in offered.items()} == pool.worker_resources


@pytest.mark.parametrize(
    "directive", ["--gres=gpu:a100:1", "--gpus=1", "--gpus-per-node=a100:1", "--gpus-per-task=1", "-G 1", "-G1"]
)
def test_a_directive_about_gpus_takes_the_place_of_ours(directive):
    pool = Pool("gpu", "slurm", gpus=1, queue="gpu", directives=("--exclusive", directive))
    lines = script_of(Profile(pools=(pool,)), pool).splitlines()
    assert [line for line in lines if "gpu:" in line or "--gpus" in line or "-G" in line] == [f"#SBATCH {directive}"]


@pytest.mark.parametrize("directive", ["-l nodes=1:ppn=8:gpus=1", "-l select=1:ncpus=8:ngpus=1:gpu_type=a100"])
def test_a_directive_about_the_whole_job_takes_the_place_of_select(directive):
    pool = Pool("gpu", "pbs", gpus=1, queue="gpu", directives=(directive,))
    lines = script_of(Profile(pools=(pool,)), pool).splitlines()
    assert [line for line in lines if line.startswith(("#PBS -l select", "#PBS -l nodes"))] == [f"#PBS {directive}"]


@given(st.integers(shortest_walltime_s(), 10_000_000))
def test_the_last_step_ends_before_the_walltime_and_a_worker_lives_for_one(walltime_s):
    lifetime_s, stagger_s = worker_lifetime_s(Pool(walltime_s=walltime_s))
    assert lifetime_s + stagger_s + LONGEST_STEP_S + MARGIN_S <= walltime_s + 0.01
    assert lifetime_s - stagger_s >= LONGEST_STEP_S - 0.01
    assert stagger_s >= 0.2 * lifetime_s - 0.01


def test_a_walltime_that_is_too_short_leaves_half_of_it():
    assert sum(worker_lifetime_s(Pool(walltime_s=60))) == pytest.approx(30, abs=0.01)
    assert worker_lifetime_s(Pool()) is None


@given(st.integers(1, 10_000_000))
def test_a_walltime_is_written_as_it_is_read(seconds):
    hours, minutes, rest = map(int, format_duration(seconds).split(":"))
    assert (hours * 60 + minutes) * 60 + rest == seconds


@pytest.mark.parametrize("path", ["/a b/c", '/a"b', "/a`b", "/a\\b", "/it's", "/a;b|c>d*"])
def test_a_path_with_odd_characters_reaches_the_node_as_it_is(path):
    assert subprocess.check_output(["bash", "-c", f"printf %s {_expanding(path)}"], text=True) == path


def test_variables_in_a_scratch_folder_are_those_of_the_job():
    command = f"printf %s {_expanding('${NODE_DISK:-/tmp}/$JOB')}"
    out = subprocess.check_output(["bash", "-c", command], text=True, env={"JOB": "12"})
    assert out == "/tmp/12"


def run_script(text, folder, **environment):
    path = folder / "job script.sh"
    path.write_text(text)
    return subprocess.run(
        ["bash", path], capture_output=True, text=True, env={**os.environ, **environment}, check=False, timeout=60
    )


def fake_python(folder):
    """Make a Python that says with what it was called, and in what surroundings."""
    folder.mkdir(exist_ok=True)
    path = folder / "fake python"
    path.write_text('#!/bin/bash\numask\necho "TMPDIR=$TMPDIR LOADED=$LOADED"\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)
    return path


def one_pool(tmp_path, scheduler="slurm", **more):
    pool = Pool("cpu", scheduler, python=shlex.quote(str(fake_python(tmp_path / "bin"))), **more)
    return Profile("site", (pool,), umask=0o027, group=None), pool


def test_the_setup_prepares_what_python_sees(tmp_path):
    scratch = tmp_path / "node local"
    profile, pool = one_pool(tmp_path, setup=("LOADED='a b'", "export LOADED"), scratch=scratch)
    done = run_script(job_script(profile, pool, "cpu-0", "tcp://a:1", log_folder=tmp_path), tmp_path, TMPDIR="/t")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[:3] == ["0027", "TMPDIR=/t LOADED=a b", "-m"]
    assert str(scratch) in lines
    assert scratch.is_dir()


def test_a_setup_that_fails_ends_the_job_with_its_line_and_starts_no_python(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(
        "pools:\n  cpu:\n    scheduler: slurm\n    max_jobs: 1\n    setup:\n    - 'true'\n    - module load nonsuch\n"
    )
    profile = read_profile(path)
    done = run_script(job_script(profile, profile.pools[0], "cpu-0", "tcp://a:1", log_folder=tmp_path), tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"ibl-dask: the setup failed ({path}, line 7): module load nonsuch" in done.stderr


def test_a_python_that_is_not_on_the_node_is_named_with_its_line(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("pools:\n  cpu:\n    scheduler: slurm\n    max_jobs: 1\n    python: /no/such/python\n")
    profile = read_profile(path)
    done = run_script(job_script(profile, profile.pools[0], "cpu-0", "tcp://a:1", log_folder=tmp_path), tmp_path)
    assert done.returncode == 1
    assert f"no such program on this node: /no/such/python ({path}, line 5); write the path of a Python" in done.stderr


def test_a_scratch_folder_that_cannot_be_made_ends_the_job(tmp_path):
    profile, pool = one_pool(tmp_path, scratch=Path("/proc/nothing/here"))
    done = run_script(job_script(profile, pool, "cpu-0", "tcp://a:1", log_folder=tmp_path), tmp_path)
    assert done.returncode == 1
    assert "no scratch folder can be made (profile site)" in done.stderr


def test_a_pbs_job_writes_its_log_while_it_runs(tmp_path):
    logs = tmp_path / "job logs"
    logs.mkdir()
    profile, pool = one_pool(tmp_path, "pbs", setup=("echo one", "nonsuch"))
    script = job_script(profile, pool, "cpu-3", "tcp://a:1", log_folder=logs)
    done = run_script(script, tmp_path, PBS_JOBID="123.head.site")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert "one\n" in (logs / "cpu-3-123.log").read_text()
    assert "the setup failed" in (logs / "cpu-3-123.log").read_text()


def test_a_pbs_job_without_its_log_folder_says_so(tmp_path):
    profile, pool = one_pool(tmp_path, "pbs")
    done = run_script(job_script(profile, pool, "cpu-3", "tcp://a:1", log_folder=tmp_path / "none"), tmp_path)
    assert done.returncode == 1
    assert f"no log can be written in {tmp_path / 'none'}" in done.stderr


def test_a_slurm_job_starts_anew_in_its_group(tmp_path):
    profile, pool = one_pool(tmp_path)
    group = subprocess.check_output(["id", "-gn"], text=True).strip()
    sg = tmp_path / "bin" / "sg"
    sg.write_text('#!/bin/bash\necho "sg $1 $2"\nunset TMPDIR\nexec sh -c "$3"\n')
    sg.chmod(0o755)
    script = job_script(replace(profile, group=group), pool, "cpu-0", "tcp://a:1", log_folder=tmp_path)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = run_script(script, tmp_path, PATH=path, TMPDIR="/a 'b")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == [f"sg {group} -c", "0027", "TMPDIR=/a 'b LOADED="]


def test_a_slurm_job_of_somebody_outside_the_group_says_so(tmp_path):
    profile, pool = one_pool(tmp_path)
    script = job_script(replace(profile, group="nobody_is_in_it"), pool, "cpu-0", "tcp://a:1", log_folder=tmp_path)
    done = run_script(script, tmp_path)
    assert done.returncode == 1
    assert "not in the group nobody_is_in_it, which profile site asks for" in done.stderr


def surroundings():
    import os

    import dask

    names = ("admin.tick.interval", "admin.tick.limit", "admin.system-monitor.interval", "worker.profile.interval")
    return dict(os.environ), {name: dask.config.get(f"distributed.{name}") for name in names}


def test_the_workers_of_a_job_join_their_scheduler_as_they_should(tmp_path):
    pool = Pool(
        "cpu",
        "slurm",
        cores=4,
        memory_gb=3.0,
        workers_per_job=2,
        walltime_s=3600,
        python=shlex.quote(sys.executable),
        scratch=tmp_path / "node local",
        setup=("export FROM_SETUP=yes",),
    )
    profile = Profile("site", (pool,), umask=0o027)
    with (
        LocalCluster(n_workers=0, dashboard_address=":0", security=True) as cluster,
        Client(cluster) as client,
    ):
        from ibl_dask.deploy.cluster.tls import _on_disk

        security = _on_disk(cluster.security, tmp_path)
        path = tmp_path / "job.sh"
        path.write_text(job_script(profile, pool, "cpu-5", cluster.scheduler_address, security, log_folder=tmp_path))
        job = subprocess.Popen(["bash", path], stderr=subprocess.DEVNULL)
        try:
            client.wait_for_workers(2, timeout=120)
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            found = sorted((w["name"], w["nthreads"], w["resources"]) for w in workers)
            told = client.run(surroundings)
            folders = {w["local_directory"] for w in workers}
        finally:
            client.retire_workers()
            assert job.wait(60) == 0
    assert found == [(f"cpu-5-{i}", 1, {"CPU": 2, "MEMORY_GB": 1.5}) for i in range(2)]
    assert all(folder.startswith(str(tmp_path / "node local")) for folder in folders)
    for environment, settings in told.values():
        assert environment["FROM_SETUP"] == "yes"
        assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "2"
        assert environment["GLIBC_TUNABLES"] == WORKER_ENVIRONMENT["GLIBC_TUNABLES"]
        assert environment["MALLOC_TRIM_THRESHOLD_"] == WORKER_ENVIRONMENT["MALLOC_TRIM_THRESHOLD_"]
        assert settings == {
            "admin.tick.limit": "60s",
            "admin.tick.interval": RARE_POLLING["distributed.admin.tick.interval"],
            "admin.system-monitor.interval": RARE_POLLING["distributed.admin.system-monitor.interval"],
            "worker.profile.interval": RARE_POLLING["distributed.worker.profile.interval"],
        }


def in_process(code, home, **more):
    """Run code in a process of its own with an empty home; return what it printed, as JSON."""
    environment = {**os.environ, "HOME": str(home), **more}
    environment.pop("XDG_CONFIG_HOME", None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


IMPORT = """
import json, pathlib, signal, sys, threading
import distributed
home = pathlib.Path.home()
listed = lambda: sorted(str(path.relative_to(home)) for path in home.rglob("*"))
before, handler = listed(), signal.getsignal(signal.SIGINT)
from ibl_dask.deploy.cluster.jobqueue import import_jobqueue
%s
import dask
print(json.dumps({
    "written": sorted(set(listed()) - set(before)),
    "same handler": signal.getsignal(signal.SIGINT) is handler,
    "signal as before": signal.signal.__module__,
    "ensure_file as before": dask.config.ensure_file.__name__,
    "imported": "dask_jobqueue.slurm" in sys.modules,
}))
"""
CALLS = {
    "in the main thread": "import_jobqueue()",
    "in another thread": "t = threading.Thread(target=import_jobqueue); t.start(); t.join()",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_importing_dask_jobqueue_writes_nothing_and_leaves_ctrl_c_alone(tmp_path, call):
    assert in_process(IMPORT % call, tmp_path) == {
        "written": [],
        "same handler": True,
        "signal as before": "signal",
        "ensure_file as before": "ensure_file",
        "imported": True,
    }


LEAK = """
import json, sys, pathlib
sys.path.insert(0, %r)
from test_jobs import SITES, script_of, POOLS
print(json.dumps({f"{site}_{pool.name}": script_of(SITES[site], pool) for site, pool in POOLS}))
"""


def test_settings_of_the_user_do_not_reach_a_job(tmp_path):
    folder = tmp_path / ".config" / "dask"
    folder.mkdir(parents=True)
    keys = (
        "name",
        "python",
        "interface",
        "local-directory",
        "queue",
        "account",
        "walltime",
        "shebang",
        "log-directory",
    )
    lists = ("worker-extra-args", "job-script-prologue", "job-extra-directives", "job-directives-skip")
    leaks = dict.fromkeys(keys, "leak") | {key: ["leak", "#"] for key in lists} | {"processes": 3, "job-cpu": 99}
    sections = dict.fromkeys(("slurm", "pbs", "ibl-dask"), leaks)
    (folder / "jobqueue.yaml").write_text(json.dumps({"jobqueue": sections}))
    scripts = in_process(LEAK % str(Path(__file__).parent), tmp_path, PBS_ACCOUNT="leak")
    assert scripts == {f"{site}_{pool.name}": script_of(SITES[site], pool) for site, pool in POOLS}
    assert "leak" not in str(scripts)


LOCAL_RUN = """
import json, sys
import ibl_dask
first = "dask_jobqueue" in sys.modules
from ibl_dask.cli.app import app
try:
    app(["run", %r, "--profile", %r])
except SystemExit as end:
    code = end.code
print(json.dumps([first, "distributed" in sys.modules, "dask_jobqueue" in sys.modules, code]))
"""


def test_workers_on_this_machine_need_no_dask_jobqueue(tmp_path):
    path = tmp_path / "here.yaml"
    path.write_text("workers: 1\ndashboard_port: 0\nsecurity: none\n")
    session = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    assert in_process(LOCAL_RUN % (str(session), str(path)), tmp_path) == [False, True, False, 1]
