"""Looking for expected datasets: at their place, in either root, and what counts as met."""

import pytest

from ibl_dask.errors import UsageError
from ibl_dask.model.signature import ExpectedDataset, Signature, read_dataset, read_signature
from ibl_dask.store.dataset_lookup import find_files

UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture
def tree(tmp_path):
    """Return a folder, and make files in it."""

    def make(*names, content=b"x"):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path

    return make


def wanted(name, collection="alf", required=True, *more):
    return ExpectedDataset.input(name, collection, required, False, *more)


def names(found, root):
    return [path.relative_to(root).as_posix() for path in found.files]


A, B, C = (wanted(f"{name}.npy") for name in "abc")


def test_names_and_folders_may_vary_and_files_come_in_order_of_their_paths(tree):
    root = tree("raw_02/x.b.npy", "raw_01/x.b.npy", "raw_01/x.a.npy", "other/x.c.npy", "raw_01/deeper/x.d.npy")
    assert names(find_files([root], wanted("x.*.npy", "raw_*")), root) == [
        "raw_01/x.a.npy",
        "raw_01/x.b.npy",
        "raw_02/x.b.npy",
    ]
    assert names(find_files([root], wanted("x.[ab].npy", "raw_0?")), root)[:2] == ["raw_01/x.a.npy", "raw_01/x.b.npy"]


def test_a_copy_inside_another_folder_does_not_count(tree):
    root = tree("backup/alf/a.npy", "backup/top.yaml")
    assert find_files([root], A) == find_files([root / "nothing"], A)
    assert find_files([root], A).missing == {"alf/a.npy"}
    assert not find_files([root], wanted("top.yaml", None)).ok


def test_a_folder_may_be_given_in_parts_or_left_out(tree):
    root = tree("alf/probe00/a.npy", "top.yaml")
    assert names(find_files([root], wanted("a.npy", ("alf", "probe00"))), root) == ["alf/probe00/a.npy"]
    for nowhere in (None, ""):
        assert names(find_files([root], wanted("*.yaml", nowhere)), root) == ["top.yaml"]


def test_a_dataset_uuid_in_the_name_is_looked_over(tree):
    root = tree(f"alf/a.{UUID}.npy", f"alf/b.more.{UUID.upper()}.npy")
    assert names(find_files([root], A), root) == [f"alf/a.{UUID}.npy"]
    assert names(find_files([root], wanted("b.*.npy")), root) == [f"alf/b.more.{UUID.upper()}.npy"]
    assert not find_files([root], wanted("a.0*.npz")).ok


def test_revisions_count_where_the_file_itself_is_absent_and_one_may_be_asked_for(tree):
    root = tree("alf/#2023-01-01#/a.npy", "alf/#2024-01-01#/a.npy", "alf/b.npy", "alf/#2023-01-01#/b.npy")
    assert names(find_files([root], A), root) == ["alf/#2023-01-01#/a.npy", "alf/#2024-01-01#/a.npy"]
    assert names(find_files([root], B), root) == ["alf/b.npy"]
    for revision in ("2023-01-01", "#2023-01-01#"):
        assert names(find_files([root], wanted("b.npy", "alf", True, revision)), root) == ["alf/#2023-01-01#/b.npy"]
    assert find_files([root], wanted("b.npy", "alf", True, "2022-01-01")).missing == {"alf/#2022-01-01#/b.npy"}


def test_outputs_hide_their_namesakes_in_the_session(tree, tmp_path):
    tree("out/alf/a.npy", "session/alf/a.npy", "session/alf/b.npy")
    roots = [tmp_path / "out", tmp_path / "session"]
    assert names(find_files(roots, wanted("*.npy")), tmp_path) == ["out/alf/a.npy", "session/alf/b.npy"]


@pytest.mark.parametrize("there", ["", "a", "b", "ab"])
def test_either_both_one_and_none_mean_what_they_say(tree, there):
    root = tree("alf/other.txt", *(f"alf/{name}.npy" for name in there))
    has_a, has_b = "a" in there, "b" in there
    expectations = {
        A | B: has_a or has_b,
        A & B: has_a and has_b,
        A ^ B: has_a != has_b,
        ~A: not has_a,
        ~(A & B): not (has_a and has_b),
        ~(A | B): not (has_a or has_b),
        ~(A ^ B): has_a == has_b,
        ~~(A & B): has_a and has_b,
        A & ~B: has_a and not has_b,
    }
    for expected, is_met in expectations.items():
        found = find_files([root], expected)
        assert found.ok is is_met, str(expected)
        assert is_met or found.missing, str(expected)


def test_what_is_found_is_that_of_the_side_which_is_met(tree):
    root = tree("alf/b.npy", "alf/c.npy")
    assert names(find_files([root], A | B), root) == ["alf/b.npy"]
    assert names(find_files([root], A ^ B), root) == ["alf/b.npy"]
    assert names(find_files([root], B & C), root) == ["alf/b.npy", "alf/c.npy"]
    assert find_files([root], B ^ C).missing == {"alf/b.npy", "alf/c.npy"}
    assert find_files([root], ~(B & C)).missing == {"alf/b.npy", "alf/c.npy"}


def test_what_is_optional_is_always_met_and_what_is_missing_is_said(tree):
    root = tree("alf/b.npy")
    optional = wanted("a.npy", "alf", False)
    assert find_files([root], optional).ok
    assert find_files([root], optional).missing == {"alf/a.npy"}
    assert not find_files([root], optional & C).ok
    assert find_files([root], optional & wanted("c.npy", "alf", False)).ok
    assert not find_files([root], ~(optional | B)).ok, "that b is there is not excused by a, which is not"
    assert find_files([root], ~(optional | C)).ok


def test_an_empty_file_is_none_where_content_is_asked_for(tree):
    root = tree("alf/a.npy", content=b"")
    assert find_files([root], A).ok
    assert not find_files([root], A, with_content=True).ok
    assert find_files([root], ~A, with_content=True).ok


def test_only_what_a_database_shall_know_is_returned_when_asked(tree):
    root = tree("alf/a.npy", "alf/b.npy")
    registered = ExpectedDataset.output("b.npy", "alf")
    assert names(find_files([root], registered, to_register=True), root) == ["alf/b.npy"]
    assert find_files([root], A, to_register=True).files == ()


def test_links_that_lead_nowhere_are_no_files(tree):
    root = tree("alf/b.npy")
    (root / "alf" / "a.npy").symlink_to(root / "gone")
    assert not find_files([root], A).ok


def test_tuples_of_the_field_are_datasets():
    signature = read_signature(
        {
            "input_files": [("a.npy", "alf"), ["b.npy", None, False, True]],
            "output_files": [("c.npy", ("alf", "x"), True)],
        }
    )
    first, second = signature["input_files"]
    assert (first.pattern, first.is_required, first.register) == ("alf/a.npy", True, False)
    assert (second.pattern, second.is_required, second.register) == ("b.npy", False, True)
    (output,) = signature["output_files"]
    assert (output.pattern, output.register, output.role) == ("alf/x/c.npy", True, "output")
    whole = read_dataset(("a", "b", False, True, "2023-01-01", False), "input")
    assert (whole.revision, whole.unique) == ("2023-01-01", False)
    assert (A | ("b.npy", "alf")).patterns == ("alf/a.npy", "alf/b.npy")
    assert read_signature(signature) is signature
    assert read_signature({}) == Signature()


@pytest.mark.parametrize("entry", [(), ("a",), ("a", "b", True, True, None, True, 1), (1, "b"), "a.npy", None])
def test_what_is_no_dataset_is_refused(entry):
    with pytest.raises(UsageError, match="no dataset"):
        read_dataset(entry, "input")


def test_what_is_read_and_what_is_written_do_not_mix():
    with pytest.raises(UsageError, match="combined"):
        A | ExpectedDataset.output("b.npy", "alf")


def test_an_expectation_says_what_it_is_in_words():
    assert str(~(A | B) & ~C) == "(~(alf/a.npy | alf/b.npy) & ~alf/c.npy)"
