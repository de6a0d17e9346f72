"""A step that takes every worker with it fails its camera after the attempts allowed; everything else is done."""

import os
import sys
from dataclasses import dataclass

import cloudpickle
import pytest
from program import says
from published import assert_same, results

from ibl_dask.pipeline.run import run
from ibl_dask.video.reducers import Brightness
from ibl_dask.video.regions import camera_reducers


@dataclass(frozen=True)
class Deadly(Brightness):
    """Ends the process that it is used in, as a lack of memory does."""

    def start(self, chunk):
        os._exit(9)


def deadly_for_left(label, n_frames, width, height):
    usual = camera_reducers(label, n_frames, width, height)
    return tuple(Deadly(r.region) if label == "left" and isinstance(r, Brightness) else r for r in usual)


@pytest.mark.chaos
def test_the_other_cameras_finish_and_the_run_ends(session, client, undisturbed):
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    result = run([session], client=client, reducers=deadly_for_left)
    assert result.exit_code == 1
    outcome = result.sessions[0]
    (failure,) = outcome.failures
    assert failure.category == "run"
    says(failure.message, "The cluster lost this step", "framepass-left", "workers that died while running it")
    says(failure.message, "What to do: ", "memory")
    assert outcome.report is not None
    assert outcome.qc.keys() == {"left", "right", "body"}
    assert outcome.qc["right"] == outcome.qc["body"] == "PASS"
    assert not (session / "ibl_dask" / "leftCamera.frames.zarr").exists()
    assert (session / "alf" / "_ibl_leftCamera.times.npy").exists()

    assert run([session], client=client).exit_code == 0
    assert_same(results(session), undisturbed)
