"""A real Slurm on this machine, for tests: one controller, four virtual nodes, two of them with two GPUs that are none.

Everything of it lives in one folder and on ports that were free, so several can run side by side, and nothing under
`/etc` is touched: commands find it by `SLURM_CONF`. Debian's packages are enough: their `slurmd` may run several times
on one machine, and jobs are batch scripts, processes and signals as on any cluster. What it does not have: control
groups (a job may use more than it asked for, only memory is looked after), accounting (`sacct`), a second machine.

Its daemons would outlive a test run that is killed. So a guard, a process of its own, waits for the end of a pipe that
the test run holds, and stops them then; what a killed guard leaves is swept up by the next start.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import wait_until

PACKAGES = ("slurm-wlm", "munge", "slurm-wlm-torque")
"""Debian's packages with everything that is needed; the last one has `qsub`, `qdel` and `qstat`."""
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol", "qsub", "qdel", "qstat")
NODES = ("n1", "n2", "n3", "n4")
GPU_NODES = ("n3", "n4")
GPUS_PER_NODE = 2
CPUS_PER_NODE = 4
"""More than the machine may have: a node is told to believe its configuration."""
MEMORY_PER_NODE_MB = 4096
NODE_TIMEOUT_S = 15
"""How long a node may be silent before its jobs are taken from it, s."""
FOLDERS = Path(tempfile.gettempdir()) / "ibl_dask-slurm"
"""Where the folders of all Slurms of tests are; a socket's path may not be longer than 107 bytes."""
START_ATTEMPTS = 3


def lacking() -> str:
    """Return what keeps Slurm from being started here; empty where nothing does."""
    if os.geteuid() != 0:
        return "its daemons want root"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    return f"no {', '.join(absent)}: apt-get install {' '.join(PACKAGES)}" if absent else ""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One line of `squeue`."""

    id: str
    """Number of the job."""
    name: str
    """Its name."""
    state: str
    """PENDING, RUNNING, COMPLETING, ..."""
    reason: str
    """Why it waits."""
    partition: str
    """Partition, or partitions."""
    node: str
    """Where it runs; empty where it does not."""


@dataclass(frozen=True, slots=True)
class Slurm:
    """A Slurm that runs."""

    folder: Path
    """Where all of it is."""

    @property
    def conf(self) -> Path:
        """Return the configuration, by which commands find it: `SLURM_CONF`."""
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of its commands."""
        return _environment(self.conf)

    def call(self, *command: str, check: bool = True, stdin: str | None = None, **more: Any) -> str:
        """Run a command and return what it printed."""
        done = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
            **more,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def submit(self, script: str, *options: str, check: bool = True) -> str:
        """Submit shell lines as a batch job; return its number, or what the refusal says."""
        log = str(self.folder / "out" / "%j.txt")
        return self.call(
            "sbatch", "--parsable", "--output", log, *options, stdin=f"#!/bin/bash\n{script}\n", check=check
        ).strip()

    def said(self, job: str) -> str:
        """Return what a job that was submitted here printed."""
        path = self.folder / "out" / f"{job}.txt"
        return path.read_text() if path.exists() else ""

    def jobs(self) -> dict[str, QueuedJob]:
        """Return the jobs that wait, run or end, by number."""
        text = self.call("squeue", "--noheader", "--format=%i|%j|%T|%r|%P|%N")
        found = [QueuedJob(*line.split("|")) for line in text.splitlines()]
        return {job.id: job for job in found}

    def shown(self, job: str) -> dict[str, str]:
        """Return what `scontrol` knows of a job; it does for ten minutes after its end."""
        words = self.call("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def node_states(self) -> dict[str, str]:
        """Return the state of every node: `idle`, `mixed`, `allocated`, `down`, with a `*` where it is silent."""
        lines = self.call("sinfo", "--noheader", "--Node", "--partition=cpu", "--format=%N %T").splitlines()
        return dict(line.split() for line in lines)

    def kill_node(self, node: str) -> list[int]:
        """Let a node die: its daemon and every process of its jobs; return those."""
        pids = [*self.kill_daemon(node), *_processes_of(self.conf, node)]
        _kill(pids)
        return pids

    def kill_daemon(self, node: str) -> list[int]:
        """Let the daemon of a node die; what runs there goes on."""
        pids = _daemon(self.folder, f"slurmd.{node}")
        _kill(pids)
        return pids

    def start_node(self, node: str) -> None:
        """Start the daemon of a node that has none."""
        if not _daemon(self.folder, f"slurmd.{node}"):
            self.call("slurmd", "-f", str(self.conf), "-N", node)

    def start_soon(self, job: str) -> None:
        """Wait until a job is back in the queue, and let it start, for which Slurm makes it wait two minutes.

        Not at once: a node refuses what has the permission of the very second in which the job was taken from it.
        """
        wait_until(lambda: (found := self.jobs().get(job)) and found.state == "PENDING")
        self.call("scontrol", "update", f"jobid={job}", "StartTime=now+2")

    def clear(self) -> None:
        """Cancel every job and bring every node back."""
        for node in NODES:
            self.start_node(node)

        def is_clear() -> bool:
            jobs = self.jobs()
            if jobs:
                self.call("scancel", *jobs, check=False)
            for node, state in self.node_states().items():
                if state.startswith(("down", "drain")):
                    self.call("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
            return not jobs and set(self.node_states().values()) == {"idle"}

        wait_until(is_clear, 60, step_s=0.2)


@contextlib.contextmanager
def running() -> Iterator[Slurm]:
    """Start a Slurm, and stop it at the end, or when this process is gone."""
    sweep()
    FOLDERS.mkdir(mode=0o755, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=FOLDERS))
    folder.chmod(0o755)
    guard = subprocess.Popen([sys.executable, str(Path(__file__)), str(folder)], stdin=subprocess.PIPE, **_APART)
    _note(folder, "guard", guard.pid)
    try:
        yield _start(folder)
    finally:
        guard.communicate(timeout=60)


_APART = {"start_new_session": True, "close_fds": True}
"""A process that signals to the test run's group do not reach, and that keeps none of its files open."""


def _environment(conf: Path) -> dict[str, str]:
    path = os.environ.get("PATH", os.defpath)
    known = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SLURMD_", "SBATCH_"))}
    return {**known, "SLURM_CONF": str(conf), "PATH": f"{path}:/usr/sbin:/sbin"}


def _start(folder: Path) -> Slurm:
    """Start the daemons; another program may take a port at the wrong moment, so try again."""
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return _start_daemons(folder)
        except (RuntimeError, TimeoutError) as error:
            _stop_daemons(folder)
            if attempt == START_ATTEMPTS:
                logs = "\n".join(f"{path.name}: {path.read_text()[-800:]}" for path in folder.glob("log/*.log"))
                raise RuntimeError(f"Slurm does not start: {error}\n{logs}") from error
    raise AssertionError("unreachable")


def _start_daemons(folder: Path) -> Slurm:
    slurm = Slurm(folder)
    for name in ("ctld", "log", "dev", "munge", "out", *(f"spool.{node}" for node in NODES)):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    _start_munge(folder, slurm.environment)
    for number in range(GPUS_PER_NODE):
        # That a GPU has a file is what makes Slurm number it; these are as empty as /dev/null.
        os.mknod(folder / "dev" / f"nvidia{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    first_port, *ports = _free_ports(1 + len(NODES))
    slurm.conf.write_text(_configuration(folder, first_port, ports))
    gpus = f"NodeName={','.join(GPU_NODES)} Name=gpu File={folder}/dev/nvidia[0-{GPUS_PER_NODE - 1}]\n"
    (folder / "gres.conf").write_text(gpus)
    slurm.call("slurmctld", "-f", str(slurm.conf))
    for node in NODES:
        slurm.start_node(node)
    wait_until(lambda: set(slurm.call("sinfo", "-hN", "-o", "%t", check=False).split()) == {"idle"}, 30)
    return slurm


def _start_munge(folder: Path, environment: dict[str, str]) -> None:
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    places = {"key-file": key, "socket": folder / "munge" / "socket", "pid-file": folder / "pid" / "munged.pid"}
    places |= {"log-file": folder / "log" / "munged.log", "seed-file": folder / "munge" / "seed"}
    options = [f"--{name}={path}" for name, path in places.items()]
    # Forced, because a folder for temporary files may be written to by anybody.
    done = subprocess.run(
        ["munged", "--force", "--num-threads=2", *options], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"munged ended with {done.returncode}: {done.stderr}")


def _configuration(folder: Path, controller_port: int, ports: list[int]) -> str:
    host = socket.gethostname().split(".")[0]
    lines = [
        "ClusterName=ibldask",
        "SlurmctldHost=localhost(127.0.0.1)",
        f"SlurmctldPort={controller_port}",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={folder}/munge/socket",
        "CredType=cred/munge",
        f"StateSaveLocation={folder}/ctld",
        f"SlurmdSpoolDir={folder}/spool.%n",
        f"SlurmctldPidFile={folder}/pid/slurmctld.pid",
        f"SlurmdPidFile={folder}/pid/slurmd.%n.pid",
        f"SlurmctldLogFile={folder}/log/slurmctld.log",
        f"SlurmdLogFile={folder}/log/slurmd.%n.log",
        "MailProg=/bin/true",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "MpiDefault=none",
        "SwitchType=switch/none",
        # Nodes have as many cores and as much memory as this file says, and come back by themselves.
        "SlurmdParameters=config_overrides",
        "ReturnToService=2",
        f"SlurmdTimeout={NODE_TIMEOUT_S}",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "SchedulerType=sched/backfill",
        # At once: a real site lets jobs wait for some seconds before it looks at them.
        "SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,sched_min_interval=100000",
        "DefMemPerCPU=512",
        "PriorityType=priority/basic",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "JobRequeue=1",
        "KillWait=3",
        "MinJobAge=600",
        "AccountingStorageType=accounting_storage/none",
        "JobCompType=jobcomp/none",
        # A job that uses more memory than it asked for is killed, as control groups would.
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=2",
        "JobAcctGatherParams=OverMemoryKill",
        "GresTypes=gpu",
    ]
    size = f"CPUs={CPUS_PER_NODE} Boards=1 SocketsPerBoard=1 CoresPerSocket={CPUS_PER_NODE} ThreadsPerCore=1"
    for node, port in zip(NODES, ports, strict=True):
        gpus = f" Gres=gpu:{GPUS_PER_NODE}" if node in GPU_NODES else ""
        place = f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
        lines.append(f"{place} {size} RealMemory={MEMORY_PER_NODE_MB}{gpus} State=UNKNOWN")
    everywhere, with_gpu = ",".join(NODES), ",".join(GPU_NODES)
    usual = "MaxTime=INFINITE DefaultTime=10 State=UP"
    lines += [
        f"PartitionName=cpu Nodes={everywhere} Default=YES PriorityTier=10 PreemptMode=off {usual}",
        f"PartitionName=gpu Nodes={with_gpu} PriorityTier=10 PreemptMode=off {usual}",
        f"PartitionName=scavenge Nodes={everywhere} PriorityTier=1 PreemptMode=requeue GraceTime=0 {usual}",
    ]
    return "\n".join(lines) + "\n"


def _free_ports(n: int) -> list[int]:
    """Return ports that nobody listens on, below those that outgoing connections are given."""
    found: list[int] = []
    while len(found) < n:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def sweep() -> None:
    """Stop and remove what is left of Slurms whose guard is gone."""
    for folder in FOLDERS.glob("*"):
        is_new = time.time() - folder.stat().st_mtime < 30
        if not _daemon(folder, "guard") and not is_new:
            _stop(folder)


def _stop(folder: Path) -> None:
    """Stop all that runs in a folder, and remove it."""
    _stop_daemons(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _stop_daemons(folder: Path) -> None:
    conf = folder / "slurm.conf"
    if _daemon(folder, "slurmctld"):
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            subprocess.run(
                ["scancel", "--user=root"], env=_environment(conf), capture_output=True, check=False, timeout=5
            )
    # Nodes last of all would write that their controller is gone; so it goes last, and what checks names after it.
    nodes = [pid for node in NODES for pid in _daemon(folder, f"slurmd.{node}")]
    _end(nodes)
    _kill(_processes_of(conf))
    _end(_daemon(folder, "slurmctld"))
    _end(_daemon(folder, "munged"))


def _note(folder: Path, name: str, pid: int) -> None:
    (folder / "pid").mkdir(exist_ok=True)
    (folder / "pid" / f"{name}.pid").write_text(f"{pid}\n")


def _daemon(folder: Path, name: str) -> list[int]:
    """Return the process that a pid file names, if it is alive and still the one that was started."""
    try:
        pid = int((folder / "pid" / f"{name}.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return []
    return [pid] if str(folder).encode() in command else []


def _processes_of(conf: Path, node: str = "") -> list[int]:
    """Return the processes of all jobs, or of those on a node."""
    marks = [f"SLURM_CONF={conf}".encode(), f"SLURMD_NODENAME={node}".encode() if node else b"SLURM_JOB_ID="]
    found: dict[int, None] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            entries = (place / "environ").read_bytes().split(b"\0")
            if all(any(e == mark or (mark.endswith(b"=") and e.startswith(mark)) for e in entries) for mark in marks):
                # What started the job has another environment; without it, Slurm never hears how the job ended.
                parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"slurmstepd"):
                    found[parent] = None
                found[int(place.name)] = None
    return list(found)


def _end(pids: list[int], seconds: float = 5) -> None:
    """Ask processes to end, and kill those that do not."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(_is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    _kill(pids)


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _guard(folder: Path) -> None:
    """Wait until the process that holds the other end of the pipe is gone, then stop everything."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    _stop(folder)


if __name__ == "__main__":
    _guard(Path(sys.argv[1]))
