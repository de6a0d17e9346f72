"""Names and folders that somebody else wrote stay inside the folder they belong to."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import OutsideSession, UsageError
from ibl_dask.model.description_reader import understand
from ibl_dask.model.places import below, complaint, first_fault, is_inside, require_inside
from ibl_dask.model.signature import ExpectedDataset, read_signature

OUTSIDE = [
    "..",
    "../002/raw_video_data",
    "raw_video_data/../../002/raw_video_data",
    "raw_video_data/..",
    "/etc",
    "//server/share",
    "C:\\videos",
    "C:/videos",
    "raw\\..\\..\\002",
    "raw\0video",
    "raw\nvideo",
    "\ud800",
    ".",
    "./",
    "",
    "a" * 300,
    7,
    None,
    ["raw_video_data"],
]


@pytest.mark.parametrize("text", OUTSIDE, ids=lambda text: repr(text)[:30])
def test_what_leads_out_of_a_folder_or_names_nothing_in_it_is_refused(tmp_path, text):
    assert complaint(text)
    with pytest.raises(OutsideSession) as caught:
        below(tmp_path, text)
    assert repr(text) in caught.value.got
    assert caught.value.do


@pytest.mark.parametrize(
    ("text", "plain"),
    [("raw_video_data", "raw_video_data"), ("alf//task_00/.", "alf/task_00"), ("a..b/..c", "a..b/..c"), ("~", "~")],
)
def test_a_folder_below_is_taken_in_its_plain_form(tmp_path, text, plain):
    assert require_inside(text, "a folder") == plain
    assert below(tmp_path, text) == tmp_path / plain


@given(st.text(st.sampled_from("a./\\:*~ \0é"), max_size=12))
def test_whatever_is_written_a_path_below_a_folder_is_below_it(text):
    root = Path("/data/SW_001/2023-05-01/001")
    try:
        path = below(root, text)
    except OutsideSession:
        return
    assert path != root
    assert path.resolve().is_relative_to(root)


@pytest.mark.parametrize("text", ["a/b", "*", "left?", "[ab]", "../x", ""])
def test_a_label_is_one_name_and_no_pattern(text):
    assert complaint(text, is_name=True)
    assert complaint("left", is_name=True) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"collection": "../x"},
        {"device_collection": "/x"},
        {"sync_collection": "a/../../x"},
        {"trials_collection": "alf/../.."},
        {"cameras": ["left", "../right"]},
        {"pname": ["probe00", "../probe01"]},
        {"sync_namespace": "../spikeglx"},
        {"probe": {"collection": "../x"}},
    ],
    ids=str,
)
def test_arguments_are_looked_through_by_their_names(arguments):
    where, why = first_fault(arguments)
    assert where.split(".")[0] in arguments
    assert "inside its session" in why


def test_a_link_that_leads_out_is_outside_and_one_in_a_folder_of_links_is_inside(tmp_path):
    session, store = tmp_path / "session", tmp_path / "store"
    (session / "alf").mkdir(parents=True)
    store.mkdir()
    (session / "linked").symlink_to(store)
    assert is_inside(session / "alf" / "x.npy", (session,))
    assert is_inside(session / "linked" / "x.npy", (session,)), "it is named below the session"
    assert not is_inside(store / "x.npy", (session,))
    assert not is_inside(session / "alf" / ".." / ".." / "store" / "x.npy", (session,))
    assert not is_inside(session / "linked" / ".." / "x.npy", (session,))


def described(**devices):
    return understand({"sync": {"nidq": {"collection": "raw_ephys_data"}}, "devices": devices})


@pytest.mark.parametrize("collection", ["../002/raw_video_data", "/data/videos", "raw\\video", "a/../..", "."])
def test_a_camera_that_leads_out_is_left_out_and_named_and_the_others_stay(collection):
    found = described(cameras={"left": {"collection": collection}, "right": {"collection": "raw_video_data"}})
    assert [camera.label for camera in found.cameras] == ["right"]
    (problem,) = found.problems
    assert problem.part == "cameras.left.collection"
    assert problem.is_refusal
    with pytest.raises(Exception, match=r"no camera 'left'.*cameras\.left\.collection"):
        found.camera("left")


@pytest.mark.parametrize("label", ["../left", "*", "a/b", ".."])
def test_a_camera_of_an_impossible_name_is_left_out_and_named(label):
    found = described(cameras={label: {}, "right": {}})
    assert [camera.label for camera in found.cameras] == ["right"]
    assert len(found.problems) == 1


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"sync": {"nidq": {"collection": "../002/raw_ephys_data"}}}, "sync.nidq.collection"),
        ({"sync": {"../nidq": {}}}, "sync.../nidq"),
        ({"sync": {"nidq": {"acquisition_software": "a/b"}}}, "sync.nidq.sync_namespace"),
        ({"sync": {"nidq": {"recording": "../g1"}}}, "sync.nidq.recording"),
        ({"tasks": [{"choiceWorld": {"collection": "/raw_task_data_00"}}]}, "tasks.0.choiceWorld.collection"),
        ({"tasks": [{"../../choiceWorld": {}}]}, "tasks.0.../../choiceWorld"),
        ({"tasks": [{"choiceWorld": {"extractors": ["a/b"]}}]}, "tasks.0.choiceWorld.extractors"),
        ({"devices": {"neuropixel": {"../probe00": {"collection": "a"}}}}, "neuropixel.../probe00"),
        ({"devices": {"widefield": {"widefield": {"collection": "../a"}}}}, "widefield.widefield.collection"),
        (
            {"devices": {"neurophotometrics": {"collection": "../a", "sync_mode": "bpod"}}},
            "neurophotometrics.collection",
        ),
        ({"devices": {"mesoscope": {"mesoscope": {"collection": "../raw_*"}}}}, "mesoscope.mesoscope.collection"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_device_protocol_or_clock_that_leads_out_is_named_and_left_out(content, part):
    found = understand(content)
    assert [problem.part for problem in found.problems] == [part]
    assert (found.sync, found.protocols, dict(found.devices)) == (None, (), {})


def test_a_microscope_names_its_folders_by_a_pattern():
    content = {"devices": {"mesoscope": {"mesoscope": {"collection": "raw_imaging_data*"}}}}
    found = understand(content)
    assert not found.problems
    assert dict(found.devices) == content["devices"]


@pytest.mark.parametrize("entry", [("x.npy", "../alf", True), ("../x.npy", "alf", True), ("x.npy", "/alf", True)])
def test_a_signature_that_leads_out_is_refused(entry):
    with pytest.raises((OutsideSession, UsageError)):
        read_signature({"output_files": [entry]})
    with pytest.raises((OutsideSession, UsageError)):
        ExpectedDataset.output(*entry)
    assert ExpectedDataset.input("*.npy", "alf/probe0[01]").pattern == "alf/probe0[01]/*.npy"
