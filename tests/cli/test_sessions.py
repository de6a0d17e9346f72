"""What the user typed, or wrote into a list, names these sessions and no others."""

import codecs
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import NotASession, UsageError
from ibl_dask.model.session import Session


@pytest.fixture
def subjects(tmp_path):
    """Return a folder of subjects with three sessions, one of them below a folder with `#` in its name."""
    root = tmp_path / "lab" / "Subjects"
    for name in ("SW_001/2023-05-01/001", "SW_001/2023-05-02/001", "SW_002/2023-05-01/001"):
        (root / name).mkdir(parents=True)
    return root


def listed(subjects, content, name="sessions.txt"):
    path = subjects.parents[1] / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize("place", ["mouse#2/2023-05-01/001", "#3/2023-05-01/001", "SW 001 #4/2023-05-01/001"])
def test_a_hash_within_a_path_does_not_cut_it_to_a_folder_of_all_sessions(subjects, place):
    (subjects / place).mkdir(parents=True)
    assert find_sessions([listed(subjects, f"{subjects / place}\n")]) == [subjects / place]


@settings(max_examples=50)
@given(subject=st.text(st.sampled_from("a# .\té"), min_size=1, max_size=6).filter(lambda name: name not in (".", "..")))
def test_whatever_a_subject_is_called_its_path_in_a_list_means_its_session_alone(tmp_path_factory, subject):
    root = tmp_path_factory.mktemp("subjects")
    for name in (subject, "other"):
        (root / name / "2023-05-01" / "001").mkdir(parents=True)
    (root / "list").write_text(f"{root / subject}/2023-05-01/001  # {root}\n", encoding="utf-8")
    (root / "bare").write_text(f"{root / subject}/2023-05-01/001\n", encoding="utf-8")
    assert find_sessions([str(root / "bare")]) == [root / subject / "2023-05-01" / "001"]
    if not any(mark in subject for mark in (" #", "\t#")):
        assert find_sessions([str(root / "list")]) == [root / subject / "2023-05-01" / "001"]


def test_a_comment_begins_at_the_start_of_a_line_or_after_white_space(subjects):
    one, two = subjects / "SW_001/2023-05-01/001", subjects / "SW_002/2023-05-01/001"
    lines = [f"# {subjects}", f"  # {subjects}", f"{one} # bad light", "", f"{two}\t#{subjects}"]
    assert find_sessions([listed(subjects, "\n".join(lines))]) == [one, two]


def test_a_path_that_is_not_there_is_not_cut_either(subjects):
    with pytest.raises(NotASession, match="mouse#2"):
        find_sessions([listed(subjects, f"{subjects}/mouse#2\n")])


@pytest.mark.parametrize("mark", ["\u2028", "\x0b", "\x0c", "\x85", "\x1e"], ids=ascii)
def test_only_a_line_feed_ends_a_line(subjects, mark):
    odd = subjects / f"a{mark}b" / "2023-05-01" / "001"
    odd.mkdir(parents=True)
    assert find_sessions([listed(subjects, f"{odd}\n")]) == [odd]


@pytest.mark.parametrize("encode", [lambda text: codecs.BOM_UTF8 + text.encode(), lambda text: text.encode("utf-16")])
def test_a_byte_order_mark_and_lines_of_windows_are_allowed(subjects, encode):
    session = subjects / "é" / "2023-05-01" / "001"
    session.mkdir(parents=True)
    assert find_sessions([listed(subjects, encode(f"{session}\r\n# x\r\n"))]) == [session]


def test_a_list_is_utf_8_whatever_the_locale(subjects):
    session = subjects / "mäuse" / "2023-05-01" / "001"
    session.mkdir(parents=True)
    path = listed(subjects, f"{session}\n")
    code = f"import os; from ibl_dask.cli.sessions import find_sessions; print(os.fsencode(*find_sessions([{path!r}])))"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == repr(os.fsencode(session)), done.stderr


@pytest.mark.parametrize(
    "content", [bytes(range(256)), b"\x89PNG\r\n\x1a\n", b"Subjects/\0", "mäuse".encode("latin-1")], ids=ascii
)
def test_a_binary_file_is_an_error_of_usage(subjects, content):
    with pytest.raises(UsageError, match="no list of sessions"):
        find_sessions([listed(subjects, content)])


def test_a_list_that_names_itself_is_an_error_of_usage(subjects):
    path = listed(subjects, "")
    Path(path).write_text(f"{path}\n")
    with pytest.raises(UsageError, match="names itself"):
        find_sessions([path])


def test_lists_that_name_each_other_in_a_circle_are_an_error_of_usage(subjects, tmp_path):
    first, second = listed(subjects, "", "a.txt"), listed(subjects, "", "b.txt")
    Path(first).write_text(f"{subjects}/SW_001\n{second}\n")
    (tmp_path / "link.txt").symlink_to(first)
    Path(second).write_text(f"{tmp_path}/link.txt\n")
    with pytest.raises(UsageError, match="names itself"):
        find_sessions([first])


def test_two_lists_that_name_a_third_are_read(subjects):
    session = subjects / "SW_001/2023-05-01/001"
    third = listed(subjects, f"{session}\n", "c.txt")
    both = [listed(subjects, f"{third}\n", name) for name in ("a.txt", "b.txt")]
    assert find_sessions(both) == [session]


def test_an_error_in_a_list_names_the_list(subjects):
    path = listed(subjects, "nothing/here\n")
    with pytest.raises(NotASession, match="in the list"):
        find_sessions([path])


# -- `..`, and links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["..", "../.", "../../001", "../../../2023-05-01/001", "../alf/.."])
def test_two_dots_mean_the_folder_above(subjects, monkeypatch, argument):
    session = subjects / "SW_001/2023-05-01/001"
    (session / "alf").mkdir()
    monkeypatch.chdir(session / "alf")
    assert find_sessions([argument]) == [session]
    assert Session(Path(argument)).path == session


def test_two_dots_never_become_the_name_of_a_subject(subjects, tmp_path, monkeypatch):
    """The mirrored folder of `../2023-05-01/001` was one level above the output root."""
    (subjects / "SW_001" / "notes").mkdir()
    monkeypatch.chdir(subjects / "SW_001" / "notes")
    session = Session(Path("../2023-05-01/001"), tmp_path / "out")
    assert session.reference == "SW_001/2023-05-01/001"
    assert session.outputs == tmp_path / "out" / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"


@pytest.mark.parametrize("name", ["today", "other/2020-01-01/009"])
def test_a_link_to_a_session_means_that_session_and_its_real_subject_is_mirrored(subjects, tmp_path, name):
    real = subjects / "SW_001/2023-05-01/001"
    link = tmp_path / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(real)
    assert find_sessions([str(link), str(real)]) == [real]
    assert Session(link, tmp_path / "out").outputs == tmp_path / "out" / real.relative_to(tmp_path)


def test_a_link_to_a_day_or_a_subject_means_the_sessions_in_it(subjects, tmp_path):
    (tmp_path / "mouse").symlink_to(subjects / "SW_001")
    (subjects / "renamed").symlink_to(subjects / "SW_002")
    assert find_sessions([str(tmp_path / "mouse" / "2023-05-01")]) == [subjects / "SW_001/2023-05-01/001"]
    assert Session(subjects / "renamed/2023-05-01/001").subject == "SW_002"
    assert len(find_sessions([str(subjects)])) == 3, "each once, by its real name"


def test_links_above_the_subject_stay_as_they_are_written(subjects, tmp_path):
    (tmp_path / "data").symlink_to(subjects)
    session = tmp_path / "data" / "SW_001/2023-05-01/001"
    assert find_sessions([str(session)]) == [session]
    assert len(find_sessions([str(session), str(subjects / "SW_001/2023-05-01/001")])) == 1


def test_two_dots_after_a_link_mean_the_folder_above_its_target(subjects, tmp_path):
    (tmp_path / "alf").symlink_to(subjects / "SW_001/2023-05-01/001/alf")
    (subjects / "SW_001/2023-05-01/001/alf").mkdir()
    assert find_sessions([str(tmp_path / "alf" / "..")]) == [subjects / "SW_001/2023-05-01/001"]
