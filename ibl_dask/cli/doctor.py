"""`ibl-dask doctor`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ibl_dask.cli.console import err, out, print_whole
from ibl_dask.report.terminal import doctor_table
from ibl_dask.store.workspace import SCRATCH_VARIABLE, WORK_FOLDER


def examine_site(profile: Path | None, work_dir: Path | None, wait_s: float | None, as_json: bool) -> int:
    """Print what was found on the driver and on one worker of each pool; return 1 where something is a problem."""
    from ibl_dask.deploy.doctor.examine import WAIT_S, examine
    from ibl_dask.deploy.doctor.judgements import Importance, worst
    from ibl_dask.deploy.site.schema import read_profile

    site = read_profile(profile)
    scratch = os.environ.get(SCRATCH_VARIABLE)
    folder = work_dir or site.scratch or (Path(scratch).expanduser() if scratch else Path.cwd() / WORK_FOLDER)
    findings = examine(
        site,
        folder.absolute(),
        wait_s=WAIT_S if wait_s is None else wait_s,
        tell=lambda text: err.print(f"{text} ...", markup=False),
    )
    rows = [finding.to_json() for finding in findings]
    if as_json:
        print_whole(json.dumps({"profile": site.name, "findings": rows}, indent=2))
    else:
        out.print(doctor_table(rows, site.name))
    return int(worst(findings) >= Importance.PROBLEM)
