"""A small session that is quick to run, and what an undisturbed run publishes for it."""

import shutil
from pathlib import Path

import pytest
from published import results

from ibl_dask.pipeline.run import run

PLACE = Path("lab") / "Subjects" / "SW_001" / "2023-05-01" / "001"


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    from ibl_dask.synth.session import write_session

    folder = tmp_path_factory.mktemp("small") / PLACE
    folder.mkdir(parents=True)
    write_session(folder, duration_s=4, scale=0.125, gop=40, ssv_cameras=("body",))
    return folder


@pytest.fixture
def session(small, tmp_path):
    """Return a copy of the small session that a test may do anything with."""
    folder = tmp_path / PLACE
    shutil.copytree(small, folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(small, tmp_path_factory):
    """Return every number that a run publishes when nothing goes wrong."""
    root = tmp_path_factory.mktemp("undisturbed")
    assert run([small], output_root=root).exit_code == 0
    return results(root / PLACE)


@pytest.fixture(scope="session")
def small_raw(tmp_path_factory):
    """Return a small session as the rig leaves it: MPEG-4 in AVI."""
    from ibl_dask.synth.session import write_session

    folder = tmp_path_factory.mktemp("small_raw") / PLACE
    write_session(folder, duration_s=3, scale=0.125, gop=12, raw_avi=True)
    return folder
