"""Program that runs the pipelines of iblvideo on one whole video, in the environment of iblvideo.

`python iblvideo_adapter.py ESTIMATOR VIDEO WEIGHTS ANSWER`: ESTIMATOR is dlc or lightning_pose, WEIGHTS a folder that
the pipeline may write to, ANSWER a JSON file that receives the path of the table. The pipeline writes beside the folder
of the video, so VIDEO lies in a folder of its own. The scripts of the field (`run_dlc.sh`, `run_litpose.sh`) do so
with a string for `overwrite`, which is always true, and know one of the places of the function.

It is loaded like an adapter only to refuse: these pipelines take no frames, and have no chunks.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

OPTIONS: dict[str, str] = {}
"""It has none."""
FUNCTIONS = {
    "dlc": (("iblvideo.pose_dlc", "dlc"), ("iblvideo.choiceworld", "dlc")),
    "lightning_pose": (("iblvideo.pose_lp", "lightning_pose"), ("iblvideo.pose_lit", "lightning_pose")),
}
"""Estimator -> modules and functions, those of newer versions first."""


class EngineError(Exception):
    """Error that a user can mend."""

    def __init__(self, what: str, category: str, expected: str = "", got: str = "", do: str = "") -> None:
        super().__init__(what)
        self.category, self.expected, self.got, self.do = category, expected, got, do


def load(weights: str | None, options: dict[str, Any], keypoints: list[str], device: str) -> Any:
    """Raise: there is nothing that takes frames."""
    raise EngineError(
        "iblvideo runs on whole videos",
        "usage",
        "the only engine of an estimator",
        "an engine among others",
        "give `parts:` of the estimator this engine alone",
    )


def find_function(estimator: str) -> Any:
    """Return the pipeline of an estimator.

    Raises
    ------
    ImportError
        If no version of iblvideo that is known has it.
    """
    reasons = []
    for module, name in FUNCTIONS[estimator]:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            reasons.append(f"{module}: {error}")
    raise ImportError("; ".join(reasons))


def run(estimator: str, video: Path, weights: Path) -> Path:
    """Run a pipeline on a video, and return the path of its table."""
    function = find_function(estimator)
    given = {"path_dlc": weights} if estimator == "dlc" else {"ckpts_path": weights}
    found = function(video, force=True, **given)
    # The pipeline of DeepLabCut returns its times as well.
    return Path(found[0] if isinstance(found, tuple) else found)


def main(estimator: str, video: str, weights: str, answer: str) -> None:
    """Run a pipeline, and write down where its table is, or that iblvideo is not here."""
    try:
        content = {"table": str(run(estimator, Path(video), Path(weights)))}
    except ImportError as error:
        content = {"missing": str(error)}
    Path(answer).write_text(json.dumps(content))


if __name__ == "__main__":
    main(*sys.argv[1:])
