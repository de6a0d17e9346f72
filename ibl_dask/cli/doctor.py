"""`ibl-dask doctor`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ibl_dask.cli.console import err, out, print_whole
from ibl_dask.report.terminal import doctor_table
from ibl_dask.store.work_folder import SCRATCH_VARIABLE, WORK_FOLDER


def examine_site(profile: Path | None, work_dir: Path | None, wait_s: float | None, as_json: bool) -> int:
    """Print the findings of the driver and of one worker of each pool; return 1 if one of them is a problem.

    Parameters
    ----------
    profile : Path, optional
        Site profile; this machine by default.
    work_dir : Path, optional
        Folder that driver and workers share; by default that of the profile.
    wait_s : float, optional
        Time limit for a worker to connect, s.
    as_json : bool
        Print JSON instead of a table.
    """
    from ibl_dask.deploy.doctor.examine import WAIT_S, examine
    from ibl_dask.deploy.doctor.finding import Importance, worst
    from ibl_dask.deploy.site.schema import read_profile

    site = read_profile(profile)
    scratch = os.environ.get(SCRATCH_VARIABLE)
    folder = work_dir or site.scratch or (Path(scratch).expanduser() if scratch else Path.cwd() / WORK_FOLDER)
    findings = examine(
        site,
        folder.absolute(),
        wait_s=WAIT_S if wait_s is None else wait_s,
        progress=lambda text: err.print(f"{text} ...", markup=False),
    )
    rows = [finding.to_json() for finding in findings]
    if as_json:
        print_whole(json.dumps({"profile": site.name, "findings": rows}, indent=2))
    else:
        out.print(doctor_table(rows, site.name))
    return int(worst(findings) >= Importance.PROBLEM)
