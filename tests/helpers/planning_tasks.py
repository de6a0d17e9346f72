"""Tasks that note the process that plans them. In a module of their own, since workers import it by name."""

import os
import threading
from dataclasses import dataclass
from typing import ClassVar

import ibl_dask as ibd
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing(Step):
    """A step that does nothing."""

    kind: ClassVar[str] = "nothing"

    def identity(self):
        return {}

    def run(self, upstream):
        return Result()


class Where(ibd.Task):
    """Notes the process that plans it and the one that concludes it."""

    def steps(self, records):
        (self.session.path / "planned_by").write_text(str(os.getpid()))
        return [Nothing(session=self.session.reference)]

    def conclude(self, records=None, **more):
        (self.session.path / "concluded_by").write_text(str(os.getpid()))
        return super().conclude(records, **more)


class Unsendable(Where):
    """Has something that cannot be pickled."""

    def __init__(self, session_path, **kwargs):
        super().__init__(session_path, **kwargs)
        self.lock = threading.Lock()
