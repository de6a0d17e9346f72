"""Tasks that only the package of a device knows: its planner is asked, in its own environment."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ibl_dask.errors import IblDaskError
from ibl_dask.model.description import ExperimentDescription, Problem
from ibl_dask.model.task import TaskSpec, sort_specs
from ibl_dask.tasks.external.environments import Environments, clean_environment

PLANNERS: Mapping[str, tuple[str, str]] = {"mesoscope": ("mpci", "mpci.alyx.pipeline:plan")}
"""Device -> label of its environment, and its planner as the field names it."""
ANSWER_S = 900.0
"""How long a planner may take, s: the field's own limit."""
_SAID = 300
"""Characters of what a planner that failed said last."""


def plan_elsewhere(
    description: ExperimentDescription, session: Path, known: Sequence[TaskSpec], environments: Environments
) -> tuple[list[TaskSpec], list[Problem]]:
    """Return the tasks of devices that other packages plan, and why some are not planned.

    Parameters
    ----------
    description : ExperimentDescription
        What was recorded.
    session : Path
        The session folder; planners look into it.
    known : sequence of TaskSpec
        The session's other tasks, which planners may name as parents.
    environments : Environments
        Where packages are. One that has no environment costs its own device alone.
    """
    specs: list[TaskSpec] = []
    problems: list[Problem] = []
    for kind, (label, target) in PLANNERS.items():
        if kind not in description.devices:
            continue
        try:
            python, _ = environments.holding(label, target.split(".")[0])
        except IblDaskError as error:
            problems.append(Problem(kind, f"its tasks are known to {target.split('.')[0]} alone, and {error}"))
            continue
        try:
            planned = _ask(python, target, session, known)
            sort_specs([*known, *specs, *planned])  # parents that are not there, say, would stop the whole session
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            problems.append(Problem(kind, f"{target} does not plan it: {error}"))
        else:
            specs += planned
    return specs, problems


def _ask(python: Path, target: str, session: Path, known: Sequence[TaskSpec]) -> list[TaskSpec]:
    """Let a planner speak, through the field's program for that; it writes nothing but into a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        context, answer = Path(folder, "context.json"), Path(folder, "specs.json")
        context.write_text(json.dumps({"tasks": [spec.to_dict() for spec in known]}))
        command = [str(python), "-m", "ibllib.pipes.plan", target, str(session)]
        done = subprocess.run(
            [*command, "--context", str(context), "--output", str(answer)],
            cwd=folder,
            env={**clean_environment(python), "HOME": folder, "MPLBACKEND": "Agg"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=False,
        )
        if done.returncode or not answer.exists():
            raise ValueError(" ".join(done.stderr.split())[-_SAID:] or f"exit status {done.returncode}")
        return [TaskSpec.from_dict(each) for each in json.loads(answer.read_text())]
