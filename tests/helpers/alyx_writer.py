"""A process that sends the results of a spool until it is ended: `alyx_writer.py SPOOL URL USER TOKEN_FILE`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ibl_dask.alyx.client import Alyx, Limits
from ibl_dask.alyx.credentials import read_access
from ibl_dask.alyx.pacing import Backoff
from ibl_dask.alyx.register_calls import Quiet
from ibl_dask.alyx.registrar import Registration
from ibl_dask.alyx.spool import Spool
from ibl_dask.alyx.sync import Writer
from ibl_dask.errors import SessionLocked

LIMITS = Limits(
    per_minute=6e5, connect_s=1.0, read_s=1.0, read_files_s=1.0, patience_s=30.0, backoff=Backoff(0.005, 0.05, 5, 4)
)


def main() -> None:
    """Send and send again."""
    folder, url, user, token_file = sys.argv[1:]
    spool = Spool(Path(folder))
    registration = Registration("cortexlab_local", quiet=Quiet(0.2, 0.0))
    writer = Writer(spool, Alyx(read_access(url, user, Path(token_file)), LIMITS), registration)
    while True:
        try:
            report = writer.run()
        except SessionLocked:  # of a process that was killed a moment ago
            report = None
        if report is None or not report.n_sent:
            time.sleep(0.02)


if __name__ == "__main__":
    main()
