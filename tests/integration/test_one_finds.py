"""What loads ALF datasets of a session does not take our own files for some."""

import json
import shutil

import pytest
from one.alf import spec
from one.alf.cache import make_parquet_db
from one.alf.io import load_object
from one.api import One
from published import assert_same, results

from ibl_dask.pipeline.run import run

OLDER = {
    "{}Camera-frames.zarr": "{}Camera.frames.zarr",
    "{}Camera-timing.npz": "{}Camera.timing.npz",
    "{}Camera-pulse_times.npz": "{}Camera.pulse_times.npz",
    "{}Camera-compression.json": "{}Camera.compression.json",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a session of raw videos that was compressed, timed and checked."""
    from ibl_dask.synth.session import write_session

    folder = tmp_path_factory.mktemp("finished") / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_session(folder, duration_s=3, scale=0.125, gop=40, raw_avi=True)
    assert run([folder]).exit_code == 0
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """Return a copy of it that a test may do anything with."""
    folder = tmp_path.joinpath(*finished.parts[-5:])
    shutil.copytree(finished, folder)
    return folder


def test_no_file_of_ours_has_a_name_of_an_alf_dataset(finished):
    ours = [path for path in (finished / "ibl_dask").rglob("*") if path.is_file()]
    assert len(ours) > 20
    assert [path.name for path in ours if spec.is_valid(path.name)] == []


@pytest.mark.filterwarnings("ignore:No default revision")
def test_the_cache_of_one_has_no_collection_of_ours_and_the_object_loads(copy):
    make_parquet_db(copy.parents[4])
    one = One(cache_dir=copy.parents[4])
    assert not [name for name in one.list_datasets("SW_001/2023-05-01/001") if "ibl_dask" in str(name)]
    assert {"alf", "raw_video_data"} <= set(one.list_collections("SW_001/2023-05-01/001"))
    shutil.rmtree(copy / "raw_video_data")
    make_parquet_db(copy.parents[4])
    loaded = One(cache_dir=copy.parents[4]).load_object("SW_001/2023-05-01/001", "leftCamera")
    assert loaded["times"].size > 100
    assert load_object(copy / "alf", "leftCamera")["times"].size == loaded["times"].size


def test_files_under_the_names_of_older_versions_are_read_and_renamed(copy, finished):
    own = copy / "ibl_dask"
    for label in ("left", "right", "body"):
        for now, before in OLDER.items():
            (own / now.format(label)).rename(own / before.format(label))
    record = json.loads((own / "leftCamera.compression.json").read_text())
    again = run([copy])
    assert again.exit_code == 0, [failure.message for failure in again.sessions[0].failures]
    assert again.sessions[0].count("framepass", "done") == 0, "what was measured is not measured again"
    assert again.sessions[0].count("encode", "done") == 0, "what is proven is not compressed again"
    assert json.loads((own / "leftCamera-compression.json").read_text())["result"] == record["result"]
    assert_same(results(copy), results(finished))
    assert not [path for path in own.iterdir() if spec.is_valid(path.name)]
