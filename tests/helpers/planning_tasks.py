"""Tasks that note the process that plans them. In a module of their own, since workers import it by name."""

import os
import threading

import ibl_dask as ibd
from ibl_dask.model.step import Step


def _nothing(records):
    return {}


class Where(ibd.Task):
    """Notes the process that plans it and the one that concludes it."""

    def steps(self, records):
        (self.session.path / "planned_by").write_text(str(os.getpid()))
        return [Step("nothing", "", self.session.reference, "0", _nothing, {})]

    def conclude(self, records=None, **more):
        (self.session.path / "concluded_by").write_text(str(os.getpid()))
        return super().conclude(records, **more)


class Unsendable(Where):
    """Has something that cannot be pickled."""

    def __init__(self, session_path, **kwargs):
        super().__init__(session_path, **kwargs)
        self.lock = threading.Lock()
