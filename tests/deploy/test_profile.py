import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.deploy.batch_systems.formats import format_duration
from ibl_dask.deploy.site.capacity import impossible_lines, pool_lines
from ibl_dask.deploy.site.profile import Pool, Profile, line_of, this_machine
from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.deploy.site.validation import profile_errors
from ibl_dask.deploy.site.value_parsers import parse_memory_gb, parse_umask, parse_walltime_s
from ibl_dask.deploy.site.walltime import shortest_walltime_s
from ibl_dask.errors import MissingFile, UsageError
from ibl_dask.model.cores import available_cores
from ibl_dask.model.step import Resources

SITE = """\
name: site
scratch: /work
pools:
  cpu:
    scheduler: slurm
    queue: batch
    cores: 4
    memory: 8 GB
    walltime: 10:00:00
    max_jobs: 20
    setup:
      - module load python
    directives: ["--constraint=x"]
  gpu:
    scheduler: slurm
    queue: gpu
    cores: 8
    memory: 32 GB
    gpus: 2
    max_jobs: 3
"""
LOCAL = """\
pools:
  here:
    scheduler: local
    memory: 2 GB
    max_jobs: 3
"""


def written(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    return path


def changed(text, *changes):
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return text


def test_a_profile_of_several_pools_is_read_with_defaults(tmp_path):
    profile = read_profile(written(tmp_path, SITE))
    cpu = Pool(
        "cpu",
        "slurm",
        0,
        20,
        4,
        8.0,
        0,
        4,
        36_000,
        "batch",
        directives=("--constraint=x",),
        setup=("module load python",),
    )
    assert profile.pools[0] == cpu
    gpu = profile.pools[1]
    assert (gpu.workers_per_job, gpu.memory_gb, gpu.walltime_s, gpu.kind) == (2, 32.0, None, "GPU")
    assert (profile.name, profile.scratch, profile.is_local) == ("site", Path("/work"), False)
    assert profile.most_workers == 20 * 4 + 3 * 2


def test_without_a_setup_the_nodes_use_the_python_that_runs_here(tmp_path):
    cpu, gpu = read_profile(written(tmp_path, SITE)).pools
    assert cpu.python == "python"
    assert Path(gpu.python) == Path(sys.executable)


def test_a_name_is_that_of_the_file_where_none_is_given(tmp_path):
    assert read_profile(written(tmp_path, "workers: 1")).name == "site"
    assert read_profile(None) == this_machine(available_cores())


def test_an_empty_profile_is_this_machine(tmp_path):
    assert read_profile(written(tmp_path, "# nothing\n")).most_workers == available_cores()


def test_pools_on_this_machine_are_those_of_the_short_form(tmp_path):
    profile = read_profile(written(tmp_path, LOCAL))
    assert replace(profile.pools[0], python="python") == Pool("here", "local", 3, 3, memory_gb=2.0)
    assert read_profile(written(tmp_path, LOCAL), workers=5).pools[0].max_jobs == 5


def test_settings_of_the_site_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("FAST", "/fast")
    monkeypatch.setenv("HOME", "/home/me")
    text = changed(
        SITE,
        (
            "scratch: /work\n",
            "scratch: $FAST/${USER}_x\nlog_folder: ~/logs\nsecurity: none\numask: 0027\ngroup: lab\ninterface: ib0\n"
            "poll_s: 3\nidle_s: 0\ndashboard_port: 0\nenvironments:\n  ephys: /envs/ephys/bin/python\n",
        ),
        ("queue: gpu", "queue: gpu\n    interface: eth1"),
    )
    monkeypatch.setenv("USER", "jane")
    profile = read_profile(written(tmp_path, text))
    assert (profile.scratch, profile.log_folder) == (Path("/fast/jane_x"), Path("/home/me/logs"))
    assert (profile.security, profile.umask, profile.group) == ("none", 0o027, "lab")
    assert (profile.poll_s, profile.idle_s, profile.dashboard_port) == (3, 0, 0)
    assert dict(profile.environments) == {"ephys": "/envs/ephys/bin/python"}
    assert [pool.interface for pool in profile.pools] == ["ib0", "eth1"]
    assert hash(profile) == hash(replace(profile, environments={}))


def test_engines_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    profile = read_profile(written(tmp_path, ENGINES))
    eye, discs = profile.engines["eye"], profile.engines["discs"]
    assert (eye.name, eye.kind, eye.python, eye.weights) == (
        "eye",
        "onnx",
        "/home/me/envs/onnx/bin/python",
        Path("/weights/eye.onnx"),
    )
    assert eye.sha256 == HASH, "a hash of digits is no number"
    assert (eye.keypoints, eye.options) == (("top", "right"), {"output": "heatmap", "mean": [0.5]})
    assert (eye.start_s, eye.batch_s) == (600, 36_000)
    assert (discs.kind, discs.python, discs.weights) == ("synthetic", "", None)
    assert hash(profile) == hash(replace(profile, engines={}))


def test_an_engine_has_the_same_identity_wherever_its_files_are(tmp_path):
    eye = read_profile(written(tmp_path, ENGINES)).engines["eye"]
    moved = replace(eye, name="iris", python="/opt/python", weights=Path("/opt/eye.onnx"), start_s=1, batch_s=1)
    assert moved.identity() == eye.identity()
    for other in (replace(eye, sha256="0" * 64), replace(eye, options={}), replace(eye, keypoints=("a",))):
        assert other.identity() != eye.identity()


def test_a_missing_hash_is_computed_for_weights_that_are_seen(tmp_path):
    weights = tmp_path / "eye.onnx"
    weights.write_bytes(b"abc")
    text = changed(ENGINES, (f"    sha256: {HASH}\n", ""), ("/weights/eye.onnx", str(weights)))
    with pytest.raises(UsageError, match="`sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad`"):
        read_profile(written(tmp_path, text))


def test_a_pool_takes_over_lines_of_another(tmp_path):
    text = changed(SITE, ("  cpu:", "  cpu: &cpu"), ("  gpu:\n    scheduler: slurm\n", "  gpu:\n    <<: *cpu\n"))
    cpu, gpu = read_profile(written(tmp_path, text)).pools
    assert (gpu.walltime_s, gpu.directives, gpu.queue) == (cpu.walltime_s, cpu.directives, "gpu")


def test_every_key_knows_its_line(tmp_path):
    profile = read_profile(written(tmp_path, SITE))
    lines = SITE.splitlines()
    for path, number in profile.lines.items():
        assert path.split(".")[-1] in lines[number - 1] or path.split(".")[-2] in ("setup", "directives")
    assert profile.line("pools", "gpu", "memory").endswith("site.yaml, line 18")
    assert profile.line("pools", "cpu", "setup", "0").endswith("line 12")
    assert profile.line("pools", "gpu", "walltime").endswith("line 14"), "where it would be"
    assert profile.line("umask").endswith("site.yaml")
    assert line_of({}, "site.yaml", "pools") == "site.yaml"


WRONG = {
    "unknown key of a pool": ([("max_jobs: 20", "max_jobz: 20")], 10, "no key max_jobz", "write `max_jobs`"),
    "unknown key of the site": (
        [("name: site", "dash-board_port: 1")],
        1,
        "no key dash-board_port",
        "`dashboard_port`",
    ),
    "key like no other": ([("name: site", "zzzzz: 1")], 1, "no key zzzzz", "remove the line"),
    "memory without unit": ([("8 GB", "8")], 8, "pools.cpu.memory makes no sense", "write `memory: 16 GB`"),
    "memory in words": ([("8 GB", "much")], 8, "Got: 'much'", "write `memory: 16 GB`"),
    "no memory": ([("8 GB", "0 GB")], 8, "pools.cpu.memory makes no sense", "write `memory: 16 GB`"),
    "walltime in seconds": ([("10:00:00", "36000")], 9, "hh:mm:ss or d-hh:mm:ss", "`walltime: 04:00:00`"),
    "walltime of two parts": ([("10:00:00", "10:00")], 9, "Got: '10:00'", "`walltime: 04:00:00`"),
    "walltime with 75 minutes": ([("10:00:00", "1:75:00")], 9, "Got: '1:75:00'", "`walltime: 04:00:00`"),
    "cores in words": ([("cores: 4", "cores: many")], 7, "cores of one job", "write `cores: 8`"),
    "no cores": ([("cores: 4", "cores: 0")], 7, "cores of one job", "write `cores: 8`"),
    "cores yes": ([("cores: 4", "cores: true")], 7, "Got: True", "write `cores: 8`"),
    "negative GPUs": ([("gpus: 2", "gpus: -1")], 19, "GPUs of one job", "write `gpus: 1`"),
    "scheduler": ([("scheduler: slurm", "scheduler: lsf")], 5, "local, slurm or pbs", "write `scheduler: slurm`"),
    "scheduler missing": (
        [("    scheduler: slurm\n", "")],
        4,
        "scheduler is missing in pools.cpu",
        "`scheduler: slurm`",
    ),
    "queue of two words": ([("queue: batch", "queue: a b")], 6, "name of a partition", "write `queue: batch`"),
    "setup that is no list": (
        [("setup:\n      - module load python", "setup: module load python")],
        11,
        "a list of shell commands",
        "write `setup: [",
    ),
    "setup of numbers": ([("- module load python", "- 3")], 12, "a list of shell commands", "write `setup: ["),
    "directives of nothing": ([('["--constraint=x"]', '[""]')], 13, "a list of lines", "write `directives: ["),
    "python with an open quote": (
        [("max_jobs: 20", "python: a 'b\n    max_jobs: 20")],
        10,
        "a Python",
        "`python: /shared",
    ),
    "umask": ([("name: site", "umask: 0999")], 1, "permission bits", "write `umask: 0027`"),
    "security": ([("name: site", "security: maybe")], 1, "auto, tls or none", "write `security: auto`"),
    "port": ([("name: site", "dashboard_port: 99999")], 1, "a port", "write `dashboard_port: 8787`"),
    "scratch of a variable": ([("/work", "$NO_SUCH/x")], 2, "variable NO_SUCH is not set", "`scratch: /shared/work`"),
    "environments": ([("name: site", "environments: {ephys: 3}")], 1, "a Python for each", "`environments: {ephys:"),
    "name of a pool": ([("  gpu:", "  g-pu:")], 14, "pools.g-pu makes no sense", "give it another name"),
    "pool of nothing": ([("scheduler: slurm\n    queue: gpu", "x: [")], 17, "not YAML", "compare with the files"),
    "no pools": ([(SITE[SITE.index("pools:") :], "pools: {}")], 3, "pools by name", "write `pools: {"),
    "pools that are a list": ([(SITE[SITE.index("pools:") :], "pools: [cpu]")], 3, "pools by name", "write `pools: {"),
    "a key twice": ([("cores: 4", "queue: x")], 7, "a key is there twice: queue", "remove one of the two"),
    "a pool twice": ([("  gpu:", "  cpu:")], 14, "two pools have one name: cpu", "another name"),
    "most jobs missing": ([("    max_jobs: 20\n", "")], 4, "max_jobs is missing in pools.cpu", "`max_jobs: 10`"),
    "no jobs": ([("max_jobs: 20", "max_jobs: 0")], 10, "nobody uses it", "remove pool cpu"),
    "fewest above most": ([("max_jobs: 20", "max_jobs: 2\n    min_jobs: 3")], 11, "keeps more jobs", "`min_jobs: 2`"),
    "memory for a chunk": ([("8 GB", "3.9 GB")], 8, "less than a chunk needs", "write `memory: 4 GB` or more"),
    "walltime for a chunk": ([("10:00:00", "00:02:14")], 9, "too short for one chunk", "write `walltime: 00:02:15`"),
    "workers above cores": (
        [("cores: 4", "cores: 4\n    workers_per_job: 5")],
        8,
        "more workers than cores",
        "`cores: 5`",
    ),
    "worker for two GPUs": ([("gpus: 2", "gpus: 2\n    workers_per_job: 1")], 20, "one worker for each GPU", "remove"),
    "GPUs of no queue": ([("    queue: gpu\n", "")], 14, "GPUs and for no queue", "`sinfo`"),
    "marks in directives": ([("--constraint", "#SBATCH --constraint")], 13, "no directive", "write `--constraint=x`"),
    "directive without dash": ([("--constraint", "constraint")], 13, "no directive", "begin it with -"),
    "directive with a key": ([("--constraint=x", "--time=3:00:00")], 13, "the key walltime sets this", "`walltime: "),
    "short directive with a key": ([("--constraint=x", "-pfast")], 13, "the key queue sets this", "`queue: "),
    "directive about logs": ([("--constraint=x", "--output=a")], 13, "the key log_folder sets this", "`log_folder: "),
    "memory for each core": ([("--constraint=x", "--mem-per-cpu=2G")], 13, "the key memory sets this", "`memory: "),
    "memory for each GPU": ([("--constraint=x", "--mem-per-gpu 8G")], 13, "the key memory sets this", "`memory: "),
    "memory again": ([("--constraint=x", "--mem=0")], 13, "the key memory sets this", "`memory: "),
    "tasks of a job": ([("--constraint=x", "--ntasks=4")], 13, "the key cores sets this", "`cores: "),
    "many jobs of one": ([("--constraint=x", "--array=1-9")], 13, "many jobs of one", "`max_jobs: "),
    "too many jobs": ([("max_jobs: 20", "max_jobs: 100000000")], 10, "at most 20,000", "`max_jobs: 20`"),
    "too many workers in all": ([("max_jobs: 20", "max_jobs: 9000")], 10, "too many workers", "fewer jobs"),
    "walltime of years": ([("10:00:00", "999999999:00:00")], 9, "walltime makes no sense", "`walltime: 04:00:00`"),
    "two schedulers": (
        [("scheduler: slurm\n    queue: gpu", "scheduler: pbs\n    queue: gpu")],
        15,
        "one scheduler",
        "two profiles",
    ),
    "old key beside pools": ([("name: site", "workers: 3")], 1, "workers is for profiles without pools", "max_jobs"),
    "old memory beside pools": ([("name: site", "memory_gb: 3")], 1, "memory_gb is for profiles without", "memory"),
}
HASH = "01" * 32
ENGINES = f"""\
engines:
  eye:
    kind: onnx
    python: ~/envs/onnx/bin/python
    weights: /weights/eye.onnx
    sha256: {HASH}
    keypoints: [top, right]
    options: {{output: heatmap, mean: [0.5]}}
    start_time_out: 00:10:00
    batch_time_out: 10:00:00
  discs: {{kind: synthetic}}
"""
WRONG_ENGINES = {
    "kind of engine": ([("kind: onnx", "kind: tensorflow")], 3, "onnx or synthetic", "write `kind: onnx`"),
    "kind missing": ([("    kind: onnx\n", "")], 2, "kind is missing in engines.eye", "write `kind: onnx`"),
    "unknown key of an engine": ([("weights:", "weightz:")], 5, "no key weightz", "write `weights`"),
    "short hash": ([(HASH, "01")], 6, "64 hexadecimal digits", "sha256sum"),
    "hash missing": ([(f"    sha256: {HASH}\n", "")], 5, "not pinned", "sha256sum"),
    "weights missing": ([("    weights: /weights/eye.onnx\n", "")], 2, "has no weights", "write `weights: "),
    "keypoint of two words": ([("right]", "'the right']")], 7, "names of keypoints", "write `keypoints: [nose_tip]`"),
    "keypoint twice": ([("right]", "top]")], 7, "a keypoint twice", "its own name"),
    "option": ([("output:", "outputs:")], 8, "no option outputs", "write `output`"),
    "options that are a list": ([("{output: heatmap, mean: [0.5]}", "[a]")], 8, "options of this kind", "{output: "),
    "no time": ([("00:10:00", "0:00:00")], 9, "longest time to load", "write `start_time_out: 00:05:00`"),
    "name of an engine": ([("discs:", "di-scs:")], 11, "engines.di-scs makes no sense", "give it another name"),
    "weights without a network": ([("synthetic}", "synthetic, weights: /x}")], 11, "has no weights", "remove the line"),
}
WRONG_LOCAL = {
    "GPUs here": ([("max_jobs: 3", "gpus: 1")], 5, "run no GPU steps", "remove gpus"),
    "queue here": ([("max_jobs: 3", "queue: x")], 5, "queue means nothing", "remove the line"),
    "walltime here": ([("max_jobs: 3", "walltime: 10:00:00")], 5, "walltime means nothing", "remove the line"),
    "setup here": ([("max_jobs: 3", "setup: [a]")], 5, "setup means nothing", "remove the line"),
    "fewer here": ([("max_jobs: 3", "max_jobs: 3\n    min_jobs: 1")], 6, "neither come nor go", "remove min_jobs"),
    "two pools here": ([("max_jobs: 3", "max_jobs: 3\n  b: {scheduler: local}")], 6, "are one pool", "keep one"),
    "memory here": ([("2 GB", "0.5 GB")], 4, "less than a chunk needs", "write `memory: 1 GB`"),
    "other scheduler": (
        [("max_jobs: 3", "max_jobs: 3\n  b: {scheduler: pbs, max_jobs: 1}")],
        6,
        "one scheduler",
        "two",
    ),
    "memory of the short form": (
        [(LOCAL, "workers: 2\nmemory_gb: 0.5\n")],
        2,
        "than a chunk",
        "`memory_gb: 1` or more",
    ),
    "text": ([(LOCAL, "hello\n")], 1, "has no keys", "compare with the files"),
    "list": ([(LOCAL, "- a\n")], 1, "has no keys", "compare with the files"),
}
CASES = {
    name: (text, *case)
    for text, cases in ((SITE, WRONG), (ENGINES, WRONG_ENGINES), (LOCAL, WRONG_LOCAL))
    for name, case in cases.items()
}


@pytest.mark.parametrize(("text", "changes", "line", "what", "do"), CASES.values(), ids=CASES)
def test_what_is_wrong_is_told_with_its_line_and_what_to_write(tmp_path, text, changes, line, what, do):
    path = written(tmp_path, changed(text, *changes))
    with pytest.raises(UsageError) as caught:
        read_profile(path)
    error = caught.value
    assert what in str(error)
    assert error.where == f"{path}, line {line}"
    assert do in error.do
    assert error.expected
    assert error.got


def test_other_lines_that_are_wrong_are_named_too(tmp_path):
    path = written(tmp_path, changed(SITE, ("8 GB", "8"), ("32 GB", "32"), ("queue: gpu", "kueue: gpu")))
    with pytest.raises(UsageError, match=r"look at line 16 \(pools.gpu.kueue\) too; look at line 18") as caught:
        read_profile(path)
    assert caught.value.where.endswith("line 8")


def test_a_shared_line_that_is_wrong_is_named_once(tmp_path):
    text = changed(
        SITE, ("  cpu:", "  cpu: &cpu"), ("  gpu:\n    scheduler: slurm\n", "  gpu:\n    <<: *cpu\n"), ("4\n", "x\n")
    )
    with pytest.raises(UsageError) as caught:
        read_profile(written(tmp_path, text.replace("    cores: 8\n", "")))
    assert "look at" not in caught.value.do


def test_workers_of_a_batch_system_are_not_given_on_the_command_line(tmp_path):
    with pytest.raises(UsageError, match="change max_jobs"):
        read_profile(written(tmp_path, SITE), workers=3)
    with pytest.raises(UsageError, match="at least one worker"):
        read_profile(None, workers=0)


def test_a_file_that_is_no_text_is_no_profile(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not text"):
        read_profile(path)


def test_a_profile_that_is_not_there_is_a_missing_file(tmp_path):
    with pytest.raises(MissingFile, match="cluster/"):
        read_profile(tmp_path / "none.yaml")


@given(st.integers(0, 10_000_000))
def test_walltimes_are_read_as_they_are_written(seconds):
    assert parse_walltime_s(format_duration(seconds)) == seconds
    days, rest = divmod(seconds, 86_400)
    assert parse_walltime_s(f"{days}-{format_duration(rest)}") == seconds


@pytest.mark.parametrize(
    "text", ["10:00:00", "1:00:00", "08:00:00", "01:02:03", "100:00:00", "1-00:00:00", "0-04:00:00"]
)
def test_yaml_leaves_walltimes_as_they_are(tmp_path, text):
    assert read_profile(written(tmp_path, changed(SITE, ("10:00:00", text)))).pools[0].walltime_s == parse_walltime_s(
        text
    )


@pytest.mark.parametrize(
    ("text", "gigabytes"),
    [("4 GB", 4), ("4GB", 4), ("1500 MB", 1.5), ("0.5 TB", 500), ("2 GiB", 2.147483648), ("4 gb", 4)],
)
def test_sizes_are_read_with_their_unit(text, gigabytes):
    assert parse_memory_gb(text) == pytest.approx(gigabytes)


@pytest.mark.parametrize(("text", "bits"), [("0027", 0o27), ("027", 0o27), ("27", 0o27), ("0o077", 0o77), ("0", 0)])
def test_permissions_are_octal_however_they_begin(tmp_path, text, bits):
    assert parse_umask(text) == bits
    assert read_profile(written(tmp_path, f"workers: 1\numask: {text}\n")).umask == bits


words = st.from_regex(r"[A-Za-z0-9_./-]{1,12}", fullmatch=True)
lines_ = (
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1).map(str.strip).filter(bool)
)


@st.composite
def pools(draw):
    gpus = draw(st.integers(0, 4))
    cores = draw(st.integers(max(1, gpus), 64))
    workers = gpus or draw(st.integers(1, cores))
    most = draw(st.integers(1, 20))  # several such pools stay below what a profile may ask for in all
    return Pool(
        name=draw(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,19}", fullmatch=True)),
        scheduler="slurm",
        min_jobs=draw(st.integers(0, most)),
        max_jobs=most,
        cores=cores,
        memory_gb=float(workers * draw(st.integers(1, 100))),
        gpus=gpus,
        workers_per_job=workers,
        walltime_s=draw(st.none() | st.integers(shortest_walltime_s(), 10**6)),
        queue=draw(words) if gpus else draw(st.none() | words),
        account=draw(st.none() | words),
        scratch=draw(st.none() | words.map(Path)),
        directives=tuple(draw(st.lists(words.map("--comment={}".format), max_size=3))),
        setup=tuple(draw(st.lists(lines_, max_size=3))),
        python=draw(words),
        interface=draw(st.none() | words),
    )


def as_written(pool):
    """Return the keys of a pool, as a person would write them."""
    keys = {
        "scheduler": pool.scheduler,
        "min_jobs": pool.min_jobs,
        "max_jobs": pool.max_jobs,
        "cores": pool.cores,
        "memory": f"{pool.memory_gb:g} GB",
        "gpus": pool.gpus,
        "workers_per_job": pool.workers_per_job,
        "walltime": pool.walltime_s and format_duration(pool.walltime_s),
        "queue": pool.queue,
        "account": pool.account,
        "scratch": pool.scratch and str(pool.scratch),
        "directives": list(pool.directives),
        "setup": list(pool.setup),
        "python": pool.python,
        "interface": pool.interface,
    }
    return {key: value for key, value in keys.items() if value is not None}


@given(st.lists(pools(), min_size=1, max_size=3, unique_by=lambda pool: pool.name))
def test_pools_are_read_as_they_are_written(tmp_path_factory, wanted):
    path = tmp_path_factory.mktemp("profile") / "site.yaml"
    content = {"pools": {pool.name: as_written(pool) for pool in wanted}}
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    profile = read_profile(path)
    assert profile.pools == tuple(wanted)
    assert not list(profile_errors(profile))
    text = path.read_text(encoding="utf-8").split("\n")
    for pool in wanted:
        for key in as_written(pool):
            number = profile.lines[f"pools.{pool.name}.{key}"]
            assert re.match(rf"    {key}:", text[number - 1])


CPU, GPU = Resources(), Resources(gpu=1)


def site(*pools):
    return Profile("site", tuple(pools), source=Path("site.yaml"), lines={"pools": 1, "pools.gpu": 7})


CPU_POOL = Pool("cpu", "slurm", 0, 10, cores=8, workers_per_job=8, memory_gb=16)
GPU_POOL = Pool("gpu", "slurm", 0, 1, gpus=1, memory_gb=16)


def test_a_plan_says_how_many_chunks_each_pool_may_get():
    assert pool_lines(site(CPU_POOL, GPU_POOL), {CPU: 30, Resources(memory_gb=0.5): 4, GPU: 12}) == [
        "pool cpu: 34 steps on 0 to 10 jobs of 8 workers",
        "pool gpu: 12 steps on 1 job",
    ]
    assert pool_lines(this_machine(2), {CPU: 30}) == []


def test_a_plan_names_a_pool_that_nobody_uses():
    assert pool_lines(site(CPU_POOL, GPU_POOL), {CPU: 30})[1] == (
        "note: nobody uses pool gpu (site.yaml, line 7): no step asks for GPU; it starts no jobs"
    )
    kept = replace(GPU_POOL, min_jobs=1)
    assert pool_lines(site(CPU_POOL, kept), {CPU: 30})[1].endswith("its 1 jobs that are always kept would idle")


def test_a_plan_names_steps_that_no_pool_can_run():
    (line,) = impossible_lines(site(CPU_POOL), {CPU: 30, GPU: 12})
    assert line.startswith("no pool can run some steps: cpu lacks GPU: 1")
    assert line.endswith("(site.yaml, line 1)")
    assert impossible_lines(site(CPU_POOL, GPU_POOL), {CPU: 30, GPU: 12}) == []
    assert impossible_lines(site(CPU_POOL), {Resources(memory_gb=3): 1})


def test_durations_need_no_quotes(tmp_path):
    """YAML takes 24:00:00 for a number, and 06:00:00 for text."""
    path = tmp_path / "site.yaml"
    path.write_text(
        "name: lab\nworkers: 1\nlongest_pause: 24:00:00\ntime_outs: {VideoCompress: 10:00:00, Lick: 06:00:00}\n"
    )
    profile = read_profile(path)
    assert profile.longest_pause_s == 86_400
    assert profile.time_outs_s == {"VideoCompress": 36_000, "Lick": 21_600}
