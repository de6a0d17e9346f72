"""Tasks of devices that are planned by their own packages, in environments of their own."""

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
"""Device -> label of its environment, and its planner as `module:function`."""
ANSWER_S = 900.0
"""Time limit of a planner, s: that of the field."""
_SHOWN = 300
"""Characters of the end of a failed planner's messages that are shown."""


def plan_externally(
    description: ExperimentDescription, session: Path, known: Sequence[TaskSpec], environments: Environments
) -> tuple[list[TaskSpec], list[Problem]]:
    """Return the tasks of devices that other packages plan, and the reasons for which some are not planned.

    Parameters
    ----------
    description : ExperimentDescription
        Description of the session.
    session : Path
        The session folder, which planners read.
    known : sequence of TaskSpec
        The session's other tasks, which planners may name as parents.
    environments : Environments
        Environments of packages. A package without one costs its own device alone.
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
    """Run a planner by the field's program for it, with a temporary folder for its files."""
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
            raise ValueError(" ".join(done.stderr.split())[-_SHOWN:] or f"exit status {done.returncode}")
        return [TaskSpec.from_dict(each) for each in json.loads(answer.read_text())]
