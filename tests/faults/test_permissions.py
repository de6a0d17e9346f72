"""Folders that may not be written to and files that may not be read: said where and what to do, the rest is done."""

import pytest
from program import WITHOUT_POWERS, call, on_disk, run, says
from published import assert_same, results

pytestmark = pytest.mark.faults


@pytest.fixture
def forbid():
    """Return a function that takes permissions away until the test ends."""
    taken = []

    def take(path, mode):
        taken.append((path, path.stat().st_mode))
        path.chmod(mode)

    yield take
    for path, mode in reversed(taken):
        path.chmod(mode)


@pytest.fixture
def read_only(session, forbid, tmp_path):
    """Return the small session below a folder of subjects in which nothing may be written."""
    for path in [*session.parents[3].rglob("*"), session.parents[3]]:
        forbid(path, 0o555 if path.is_dir() else 0o444)
    return session


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_read_only_session_is_refused_by_a_message_that_names_the_option(read_only, tmp_path, command):
    before = on_disk(tmp_path)
    code, text = call(command, read_only, *(["--workers", "0"] if command == "run" else []), prefix=WITHOUT_POWERS)
    assert code != 0
    says(text, "cannot be written here", "--output-root", "--work-dir", "read-only", "where: ", "what to do: ")
    assert on_disk(tmp_path) == before


def test_a_read_only_session_is_refused_before_anything_is_made_in_it(session, forbid, tmp_path):
    """Only the folder of times may not be written to, and there is room for a journal beside the subjects."""
    forbid(session / "alf", 0o555)
    before = on_disk(session)
    code, text = run(session, prefix=WITHOUT_POWERS)
    assert code == 1
    says(text, "cannot be written here", session / "alf", "--output-root")
    assert on_disk(session) == before


def test_a_read_only_session_is_run_with_results_elsewhere_and_not_touched(read_only, tmp_path, undisturbed):
    (tmp_path / "out").mkdir()
    before = on_disk(tmp_path / "lab")
    code, text = run(read_only, "--output-root", tmp_path / "out", prefix=WITHOUT_POWERS)
    assert code == 0, text
    assert on_disk(tmp_path / "lab") == before
    assert_same(results(tmp_path / "out" / read_only.relative_to(tmp_path)), undisturbed)


@pytest.mark.parametrize("name", ["_iblrig_leftCamera.raw.mp4", "_iblrig_leftCamera.frameData.bin"])
def test_a_file_that_may_not_be_read_fails_its_camera_alone(session, forbid, name, undisturbed):
    path = session / "raw_video_data" / name
    forbid(path, 0)
    code, text = run(session, prefix=WITHOUT_POWERS)
    assert code == 1
    says(text, path, "ermission denied", "read permission", "what to do: ")
    for label in ("right", "body"):
        path = session / "alf" / f"_ibl_{label}Camera.times.npy"
        assert path.read_bytes()[-8:] == undisturbed[f"{label}.times"][-1:].tobytes()
    assert not (session / "alf" / "_ibl_leftCamera.times.npy").exists()


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_folder_that_may_not_be_read_is_named(session, forbid, command):
    forbid(session / "raw_video_data", 0)
    code, text = call(command, session, *(["--workers", "0"] if command == "run" else []), prefix=WITHOUT_POWERS)
    assert code == 1
    says(text, "may not be read", session / "raw_video_data", "chmod")
    assert "what to do: " in text.lower()


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_session_that_may_not_be_entered_is_named(session, forbid, command, tmp_path):
    forbid(session.parent, 0)
    options = ["--workers", "0"] if command == "run" else []
    code, text = call(command, session, "--output-root", tmp_path / "out", *options, prefix=WITHOUT_POWERS)
    assert code == 1
    says(text, "may not be read", session, "what to do: ")
