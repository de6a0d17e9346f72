"""A step that ends its own process. In a module of its own, since workers import it by name."""

import os
from dataclasses import dataclass

from ibl_dask.video.reducers.brightness import Brightness
from ibl_dask.video.reducers.camera_set import camera_reducers


@dataclass(frozen=True)
class Deadly(Brightness):
    """Ends the process that it is used in, as a lack of memory does."""

    def start(self, chunk):
        os._exit(9)


def deadly_for_left(label, n_frames, width, height):
    """Return the reducers of a camera; those of the left camera are deadly."""
    usual = camera_reducers(label, n_frames, width, height)
    return tuple(Deadly(r.region) if label == "left" and isinstance(r, Brightness) else r for r in usual)
