"""Motion energy is a plain difference of grey levels."""

import av
import numpy as np

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.video.reducers.motion_energy import MotionEnergy


def test_7_21_every_difference_of_grey_levels_counts_in_full():
    """The reference goes through a square root and loses a count of eight of them."""
    levels = np.repeat(np.arange(256), 3)
    levels[::3] = 0  # each level follows two frames after black
    levels[1::3] = 0
    reducer, frame = MotionEnergy(Region(0, 4, 0, 6)), av.VideoFrame(8, 8, "yuv420p")
    part = reducer.start(Chunk(0, levels.size))
    for number, level in enumerate(levels):
        part.add(number, np.full((8, 8), level, np.uint8), frame)
    energy = part.arrays()[reducer.name]
    at = np.arange(3, levels.size - 5, 3)
    np.testing.assert_array_equal(energy[at], levels[at + 2])
