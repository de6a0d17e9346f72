"""Tasks that say how long they may take."""

import ibl_dask as ibd


class Sorting(ibd.Task):
    """Takes hours."""

    time_out_secs = 9000

    def _run(self, **kwargs):
        return []


class Quick(ibd.Task):
    """Says nothing of it."""

    def _run(self, **kwargs):
        return []
