"""The commands of a batch system whose one node is this machine: jobs are real processes, and start at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

_SBATCH = """
exec 9>"$JOBS/lock"
flock 9
number=$(( $(ls "$JOBS" | grep -c pid) + 101 ))
cp "$1" "$JOBS/$number.sh"
SLURM_JOB_ID=$number SLURMD_NODENAME=here setsid bash "$JOBS/$number.sh" >"$JOBS/$number.log" 2>&1 </dev/null 9>&- &
echo $! >"$JOBS/$number.pid"
echo "Submitted batch job $number"
"""
_SQUEUE = """
for file in "$JOBS"/*.pid; do
    [ -e "$file" ] || continue
    state=$(ps -o stat= -p "$(cat "$file")")
    case "$state" in ""|Z*) continue ;; esac
    echo "$(basename "$file" .pid)|RUNNING|None"
done
"""
_SCANCEL = 'kill -TERM -- "-$(cat "$JOBS/$1.pid")"\n'
_COMMANDS = {"sbatch": _SBATCH, "squeue": _SQUEUE, "scancel": _SCANCEL, "scontrol": "exit 1\n"}


class BatchHere:
    """Where the commands are, and what was submitted by them."""

    def __init__(self, folder: Path) -> None:
        self.jobs = folder / "batch"
        self.commands = folder / "commands"
        for made in (self.jobs, self.commands):
            made.mkdir(parents=True)
        for name, text in _COMMANDS.items():
            path = self.commands / name
            path.write_text(f"#!/bin/bash\n{text}")
            path.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which they are found."""
        return {"PATH": f"{self.commands}{os.pathsep}{os.environ['PATH']}", "JOBS": str(self.jobs)}

    def pids(self) -> list[int]:
        """Return the first process of each job that was submitted."""
        texts = [path.read_text().strip() for path in self.jobs.glob("*.pid")]
        return [int(text) for text in texts if text]

    def end(self) -> None:
        """Kill what is left of jobs."""
        for pid in self.pids():
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def profile(self, folder: Path, **more: object) -> str:
        """Return the text of a profile whose jobs run here."""
        site = {"scratch": folder / "work", "log_folder": folder / "jobs", "dashboard_port": 0, "poll_s": 1}
        lines = [f"{key}: {value}" for key, value in (site | more).items()]
        pool = {"scheduler": "slurm", "max_jobs": 1, "memory": "1 GB", "python": sys.executable}
        return "\n".join([*lines, "pools:", "  cpu:", *(f"    {key}: {value}" for key, value in pool.items())]) + "\n"


def printed_by(code: str, *arguments: object, **more: str) -> str:
    """Run code in a process of its own and return what it printed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **more}, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
