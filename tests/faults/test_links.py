"""Links are read through; nothing is written, changed or deleted through one."""

import os

import pytest
from program import call, on_disk, run, says
from published import assert_same, results

from ibl_dask.pipeline.run import run as run_here


def times(folder, *labels):
    return {path.name for path in (folder / "alf").glob("_ibl_*Camera.times.npy")} == {
        f"_ibl_{label}Camera.times.npy" for label in labels
    }


def move_behind_a_link(path, store):
    """Move a file or folder to a store and leave a link in its place."""
    target = store / f"xyz{path.suffix}"
    path.rename(target)
    path.symlink_to(os.path.relpath(target, path.parent))
    return target


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("linked", ["raw_video_data", "raw_video_data/_iblrig_leftCamera.raw.mp4"])
def test_raw_data_behind_links_are_read_and_stay_as_they_are(session, store, undisturbed, linked):
    move_behind_a_link(session / linked, store)
    before = on_disk(store)
    assert run_here([session]).exit_code == 0
    assert on_disk(store) == before
    assert_same(results(session), undisturbed)


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("linked", [".", "alf", "ibl_dask"])
def test_results_are_not_written_through_a_link(session, store, linked, command):
    (session / linked).mkdir(exist_ok=True)
    move_behind_a_link(session / linked, store)
    before = on_disk(store)
    code, text = call(command, session, *(["--workers", "0"] if command == "run" else []))
    assert code == 1, text
    says(text, "through a link", f"where: {session / linked}", "got: a link to ", "--output-root")
    assert on_disk(store) == before


def test_a_linked_session_is_read_and_its_results_written_elsewhere(session, store, tmp_path, undisturbed):
    move_behind_a_link(session, store)
    before = on_disk(store)
    assert run_here([session], output_root=tmp_path / "out").exit_code == 0
    assert on_disk(store) == before
    assert_same(results(tmp_path / "out" / session.relative_to(tmp_path)), undisturbed)


def test_a_linked_session_is_found_in_the_folder_that_holds_it_and_once(session, store, tmp_path):
    move_behind_a_link(session, store)
    (session.parents[2] / "round").symlink_to(session.parents[3])
    code, text = call("plan", session.parents[3], "--output-root", tmp_path / "out")
    assert code == 0, text
    assert text.count("SW_001/2023-05-01/001: ") == 1


def test_linked_results_are_replaced_and_what_they_led_to_stays(session, store, undisturbed):
    """An archive put links where an earlier run had left files; one of them was lost, another is out of date."""
    assert run_here([session]).exit_code == 0
    times_behind = move_behind_a_link(session / "alf" / "_ibl_leftCamera.times.npy", store)
    move_behind_a_link(session / "ibl_dask" / "leftCamera-frames.zarr", store)
    (store / "xyz.zarr" / "brightness" / "c" / "0").unlink()
    before = on_disk(store)
    assert run_here([session]).exit_code == 0
    assert on_disk(store) == before
    assert times_behind.exists()
    assert_same(results(session), undisturbed)


@pytest.mark.parametrize("kind", ["dangling", "loop"])
def test_a_link_that_leads_nowhere_fails_its_camera_alone(session, kind):
    video = session / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    video.unlink()
    video.symlink_to("../not_mounted/left.mp4" if kind == "dangling" else video.name)
    code, text = run(session)
    assert code == 1
    says(text, "a link that leads nowhere", video, f"{video.name} -> ", "mount the disk that it leads to")
    assert times(session, "right", "body")
    assert video.is_symlink()


def test_camera_files_behind_a_dangling_link_fail_their_camera_alone(session):
    path = session / "raw_video_data" / "_iblrig_leftCamera.frameData.bin"
    path.unlink()
    path.symlink_to("../not_mounted/left.bin")
    code, text = run(session)
    assert code == 1, text
    says(text, "a link that leads nowhere", path)


@pytest.mark.parametrize("kind", ["dangling", "loop"])
def test_a_session_that_is_a_link_to_nowhere_says_so(session, tmp_path, kind):
    link = session.parent / "002"
    link.symlink_to("nothing" if kind == "dangling" else link.name)
    code, text = run(link)
    assert code == 1
    says(text, "does not exist", "a link that leads nowhere", link)
