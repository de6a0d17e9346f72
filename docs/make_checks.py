"""Write docs/checks.md from the checks themselves: `python docs/make_checks.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ibl_dask.model.check_remedies import REMEDIES
from ibl_dask.qc import checks
from ibl_dask.qc.pose import CHECKS as POSE_CHECKS
from ibl_dask.qc.record import REFERENCE_CHECKS
from ibl_dask.qc.registry import registered_checks

PAGE = Path(__file__).parent / "checks.md"
INTRODUCTION = """\
# Checks

Written from the code by `docs/make_checks.py`. Outcomes are PASS, WARNING (look at it), FAIL (do not use it without a
look) and CRITICAL (it is not there); NOT SET where the data of a check are missing, with the reason. `ibl-dask qc
SESSION` and the report show measured values and thresholds; `qc.json` holds them as numbers. Those marked *ibllib* keep
its keys, numbers and thresholds ([differences](differences.md)). Pictures show a failure, drawn as in the report
(`docs/make_check_pictures.py`).
"""


def paragraphs(function: Callable[..., object]) -> list[str]:
    """Return the paragraphs of a docstring, each on one line, without headings of sections."""
    text = re.sub(r"\n?Notes\n-+\n", "\n\n", inspect.getdoc(function) or "")
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def section(name: str, function: Callable[..., object], mark: str) -> str:
    """Return the section on one check."""
    lines = [f"### {name}{mark}", *paragraphs(function)]
    picture = f"pictures/checks/{name}.svg"
    if (PAGE.parent / picture).exists():
        lines.insert(2, f"![Example of a camera that does not pass {name}]({picture})")
    if name in REMEDIES:
        remedy = REMEDIES[name]
        lines.append(f"**What to do:** {remedy[0].upper()}{remedy[1:]}.")
    return "\n\n".join(lines)


def sections() -> Iterable[str]:
    """Yield the parts of the page."""
    yield INTRODUCTION.rstrip()
    yield "## Of cameras"
    for name, function in sorted(registered_checks().items()):
        yield section(name, function, " (ibllib)" if name in REFERENCE_CHECKS else "")
    yield "## Of keypoints"
    for function in POSE_CHECKS["dlc"]:
        yield section(function.__name__.removeprefix("check_"), function, " (ibllib)")


def page() -> str:
    """Return the page."""
    if not checks:
        raise AssertionError("the modules of checks were not loaded")
    return "\n\n".join(sections()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
