"""A server of the queue in a process of its own, to be killed: `python alyx_server_process.py URL SUBJECTS`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from ibl_dask.alyx import outbox
from ibl_dask.alyx.client import Alyx, Limits
from ibl_dask.alyx.credentials import Access, Token
from ibl_dask.alyx.pacing import Backoff
from ibl_dask.alyx.register_calls import Quiet
from ibl_dask.alyx.registrar import Registration
from ibl_dask.alyx.repository import Place
from ibl_dask.alyx.serve import Server
from ibl_dask.store import holder


def main(url: str, subjects: str) -> None:
    """Run the queue until nothing waits."""
    holder.HEARTBEAT_S = 0.2
    outbox.Registration = partial(Registration, quiet=Quiet(0.2, 0.0))  # its server needs no seconds for a file
    times = {"connect_s": 2.0, "read_s": 1.0, "read_files_s": 1.0, "patience_s": 20.0}
    limits = Limits(per_minute=6e5, **times, backoff=Backoff(0.01, 0.1, 12, 12))
    alyx = Alyx(Access(url, "test_user", Token("0" * 39 + "1")), limits)
    place = Place("cortexlab_local", ("cortexlab",))
    root = Path(subjects)
    server = Server(alyx, place, root, root / ".ibl_dask", frozenset({"seven_tasks"}), creates=False, interval_s=0.05)
    server.serve(once=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(*sys.argv[1:])
