"""A step that takes every worker with it fails its camera after the attempts allowed; everything else is done."""

import re

import pytest
from deadly import deadly_for_left
from program import says
from published import assert_same, results

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.pipeline.run import run


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def crowded(request):
    """Return a client to so few workers that harmless steps wait where the deadly one is."""
    with connect(this_machine(request.param, dashboard_port=0)) as client:
        yield client


@pytest.mark.chaos
def test_the_other_cameras_finish_and_the_run_ends(session, crowded, undisturbed):
    result = run([session], client=crowded, reducers=deadly_for_left)
    assert result.exit_code == 1
    outcome = result.sessions[0]
    (failure,) = outcome.failures
    assert failure.category == "killed"
    says(failure.message, "this step kills the process that it runs in", "framepass-left", "exit code 9")
    assert re.search(r"at most 0\.\d\d GB of memory", failure.message)
    assert outcome.report is not None
    assert outcome.qc.keys() == {"left", "right", "body"}
    assert not (session / "ibl_dask" / "leftCamera-frames.zarr").exists()
    assert (session / "alf" / "_ibl_leftCamera.times.npy").exists()

    again = run([session], client=crowded)
    assert again.exit_code == 0
    assert {label: again.sessions[0].qc[label] for label in ("right", "body")} == {
        label: outcome.qc[label] for label in ("right", "body")
    }
    assert_same(results(session), undisturbed)
