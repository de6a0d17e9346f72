"""Names that become part of commands of others are words that a shell takes as they are."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import OutsideSession, UnsafeName
from ibl_dask.model.shell_names import require_plain, shell_fault, unsafe_argument

COMMANDS = [
    "a;b",
    "$(b)",
    "`b`",
    "a b",
    "a'b",
    'a"b',
    "a|b",
    "a&b",
    "a>b",
    "a<b",
    "a(b)",
    "{a,b}",
    "!a",
    "-rf",
    "a/-rf",
]


@pytest.mark.parametrize("text", [*COMMANDS, "~root", "#a", "a$b", "a\tb", "a\u00a0b", "-rf", "a/-rf"])
def test_a_name_from_a_database_holds_nothing_that_a_shell_interprets(text):
    with pytest.raises((UnsafeName, OutsideSession)) as caught:
        require_plain(text, "the subject of a session")
    assert repr(text) in caught.value.got
    assert caught.value.do


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("_ibl_leftCamera.times.npy", "_ibl_leftCamera.times.npy"),
        ("./alf//task_00/#2024-05-06#/a.b.npy", "alf/task_00/#2024-05-06#/a.b.npy"),
        ("probe00_g0-t0.imec+1@x=2,3", "probe00_g0-t0.imec+1@x=2,3"),
        ("Mäuse_01", "Mäuse_01"),
        ("KS~1", "KS~1"),
    ],
)
def test_names_of_the_field_are_plain_and_taken_in_their_normal_form(text, plain):
    assert require_plain(text, "a collection") == plain


@given(st.text(max_size=12) | st.text(st.sampled_from("aB0._-+=@%:,/#~ ;$*"), max_size=12))
def test_what_is_plain_is_one_word_without_anything_to_expand(text):
    path = f"/data/{text}"
    if shell_fault(path) is None:
        assert shlex.split(path) == [path]
        assert not set(path) & set("$`*?[]{}()<>|&;!'\"\\\n")
    else:
        assert shlex.quote(path) != path or "/-" in path


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_takes_plain_paths_as_they_are(shell):
    names = ["#2024-05-06#", "KS~1", "~root", "a=~", "Mäuse", "x@y+z%:,", "a#b", "é-_.", "A=b"]
    paths = [f"/data/{name}/001" for name in names]
    assert not [path for path in paths if shell_fault(path)]
    done = subprocess.run([shell, "-c", f"printf '%s\\n' {' '.join(paths)}"], capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == paths


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"collection": "raw data"}, "collection"),
        ({"scratch_folder": "/tmp x"}, "scratch_folder"),
        ({"cameras": ["left", "right;x"]}, "cameras"),
        ({"fibers": {"G0": {"location": "$(x)"}}}, "fibers.G0.location"),
        ({"fibers": {"`x`": 1}}, "fibers"),
        ({"threshold": ["x\ny"]}, "threshold"),
    ],
    ids=str,
)
def test_the_first_argument_with_characters_of_a_shell_is_named(arguments, key):
    assert unsafe_argument({"protocol": "choiceWorld", **arguments})[0] == key


def test_patterns_of_folders_and_blanks_in_free_texts_are_no_danger():
    assert (
        unsafe_argument({"device_collection": "raw_imaging_data_[0-9]*", "a": ["left VTA", "", None, 3, True]}) is None
    )
