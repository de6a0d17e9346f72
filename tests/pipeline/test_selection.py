"""What is asked of a run is looked at before anything starts: tasks, options, and their values."""

import pytest
from described import described
from hypothesis import given
from hypothesis import strategies as st

import ibl_dask as ibd
from ibl_dask.errors import UsageError
from ibl_dask.model.choices import nearest
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run
from ibl_dask.pipeline.selection import as_names
from ibl_dask.store.run_summary import find_runs
from ibl_dask.tasks.options import check_options, check_value, keywords
from ibl_dask.tasks.registry import known_options

OWN = (ibd.VideoRegisterRaw, ibd.VideoCompress, ibd.VideoConvert, ibd.VideoSyncQcNidq, ibd.VideoSyncQcBpod)


@pytest.fixture
def cohort(tmp_path):
    """Return sessions of two rigs."""
    ephys = [described(tmp_path, f"SW_001/2023-05-0{day}/001") for day in (1, 2)]
    return [*ephys, described(tmp_path, "SW_002/2023-05-01/001", "bpod")]


def nothing_started(cohort):
    return (
        not any((folder / "ibl_dask").exists() for folder in cohort)
        and not (cohort[0].parents[2] / ".ibl_dask").exists()
    )


@pytest.mark.parametrize(
    ("tasks", "meant"),
    [
        (["VideoCompess"], "VideoCompress"),
        (["VideoSyncQcNdiq"], "VideoSyncQcNidq"),
        (["VideoRegisterRaw", "videocompress"], "VideoCompress"),
        (["VideoSyncQC_nidk"], "VideoSyncQC_nidq"),
        (["PostDLc"], "PostDLC"),
        ("VideoRegisterRaw,VideoConvret", "VideoCompress"),  # no session has VideoConvert
    ],
)
def test_a_task_that_no_session_has_is_an_error_once_before_anything_starts(cohort, tasks, meant):
    with pytest.raises(UsageError) as caught:
        ibd.run(cohort, tasks=tasks)
    error = caught.value
    assert "no session has" in error.what
    assert f"write {meant}" in error.do
    assert "VideoSyncQC_nidq (VideoSyncQcNidq)" in error.expected, "class names are beside names"
    assert "VideoSyncQC_bpod (VideoSyncQcBpod)" in error.expected, "of all sessions"
    assert nothing_started(cohort)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoding": "h265"}, ["encoding", "h265", "ibl, ibl_bpod, short_gop"]),
        ({"encoding": "short_gob"}, ["write short_gop"]),
        ({"raw_video": "remove"}, ["raw_video", "keep, trash, delete"]),
        ({"raw_video": "trahs"}, ["write trash"]),
        ({"pose": ["dcl"]}, ["write dlc"]),
        ({"pose": ["dlc", "lightning"]}, ["write lightning_pose"]),
        ({"longest_extrapolation_s": -1}, ["0 or more"]),
        ({"longest_extrapolation_s": float("nan")}, ["0 or more"]),
        ({"chunk_pixels": 0}, ["1 or more"]),
        ({"encode_pixels": 1.5}, ["1 or more"]),
        ({"reference_frames": "nowhere"}, ["no such folder"]),
        (
            {"raw_video": "delete", "output_root": "elsewhere"},
            ["raw videos stay untouched", "leave one of the two out"],
        ),
        ({"on_error": "stop"}, ["continue, raise"]),
        ({"tasks": []}, ["no task is named"]),
        ({"tasks": " , "}, ["no task is named"]),
        ({"overwrites": True}, ["write overwrite in place of overwrites"]),
        ({"task": "VideoCompress"}, ["write tasks in place of task"]),
        ({"raw_vidoe": "keep", "encodng": "ibl"}, ["raw_video in place of raw_vidoe", "encoding in place of encodng"]),
        ({"listener": []}, ["write listeners in place of listener"]),
        ({"workers": 3}, ["takes no argument workers"]),
    ],
)
def test_options_that_make_no_sense_are_refused_by_every_door_before_anything_starts(cohort, options, words):
    for door in (lambda **asked: ibd.run(cohort, **asked), lambda **asked: run(cohort, **asked)):
        with pytest.raises(UsageError) as caught:
            door(**options)
        for word in words:
            assert word in str(caught.value)
    assert nothing_started(cohort)
    with pytest.raises(UsageError):
        ibd.make_pipeline(cohort[0], **options)


def test_each_session_runs_what_it_has_of_the_tasks_asked_for(cohort):
    for folder in cohort:
        (folder / "raw_video_data").mkdir()
        (folder / "raw_video_data" / "_iblrig_leftCamera.timestamps.ssv").write_text("x")
    result = run(cohort, tasks=["VideoSyncQcBpod", "VideoRegisterRaw"])
    assert [list(outcome.tasks) for outcome in result.sessions] == [
        ["VideoRegisterRaw"],
        ["VideoRegisterRaw"],
        ["VideoRegisterRaw", "VideoSyncQC_bpod"],
    ]
    assert [outcome.is_success for outcome in result.sessions] == [True, True, False], "there is no video"


def test_a_session_with_none_of_the_tasks_is_left_alone_and_no_failure(cohort):
    result = run(cohort, tasks="VideoSyncQcBpod")
    assert [outcome.is_passed_over for outcome in result.sessions] == [True, True, False]
    assert [outcome.is_success for outcome in result.sessions[:2]] == [True, True]
    assert [(folder / "ibl_dask").exists() for folder in cohort] == [False, False, True]
    made = make_pipeline(cohort[0], tasks=["VideoSyncQcBpod"], skip_absent=True)
    assert made.tasks == {}
    assert "VideoSyncQcBpod was asked for, and this session has no such task" in made.notes


def test_a_session_that_cannot_be_planned_does_not_hide_a_misspelt_task_nor_stop_the_others(cohort):
    (cohort[0] / "_ibl_experiment.description.yaml").write_text("[")
    with pytest.raises(UsageError, match="VideoRegisterRaw"):
        run(cohort, tasks=["VideoRegisterRwa"])
    result = run(cohort, tasks=["VideoRegisterRaw"])
    assert ["VideoRegisterRaw" in outcome.tasks for outcome in result.sessions] == [False, True, True]
    alone = run(cohort[:1], tasks=["VideoRegisterRwa"])
    assert "not valid YAML" in alone.sessions[0].failures[0].message, "what is wrong with the only session is told"
    assert find_runs(alone.journal.parents[1])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("VideoSyncQC_nidq", "VideoSyncQC_nidq"),
        ("VideoSyncQcNidq", "VideoSyncQC_nidq"),
        ("ibllib.pipes.video_tasks.VideoSyncQcNidq", "VideoSyncQC_nidq"),
        ("ibl_dask.tasks.video_sync.clocks.VideoSyncQcNidq", "VideoSyncQC_nidq"),
        ("EphysPostDLC", "PostDLC"),
    ],
)
def test_a_task_is_found_by_its_name_its_class_and_their_dotted_paths(cohort, name, found):
    assert list(make_pipeline(cohort[0], tasks=[name]).tasks) == [found]


def test_a_lab_s_own_task_is_run_by_its_dotted_path_after_those_that_are_named_before_it(cohort):
    made = make_pipeline(cohort[0], tasks=["VideoRegisterRaw", "lab_tasks.LickRate", "lab_tasks.VideoCompress"])
    _, second, third = made.specs
    assert (second.name, second.parents, second.level) == ("LickRate", ("VideoRegisterRaw",), 1)
    assert (second.resources.cpu, second.resources.memory_gb, second.priority) == (2, 3.0, 70)
    assert third.name == "lab_tasks.VideoCompress", "the session has a task of that name"
    assert third.level == 2
    result = run(cohort, tasks=["lab_tasks.LickRate"])
    assert result.is_success
    assert all((folder / "alf" / "lab.rate.npy").exists() for folder in cohort)
    assert all(outcome.tasks == {"LickRate": "Complete"} for outcome in result.sessions)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lab_tasks.LickRat", "holds LickRat"),
        ("lab_task.LickRate", "no package lab_task is installed here"),
        ("wheel_scenes.Nothing", "cannot be loaded"),
    ],
)
def test_a_lab_s_task_that_is_not_there_is_told_once_before_anything_starts(cohort, name, said):
    with pytest.raises(UsageError, match=said):
        run(cohort, tasks=[name])
    assert nothing_started(cohort)


@pytest.mark.parametrize(
    "text",
    ["import sys\nsys.exit(3)", "1 / 0", "import argparse\nargparse.ArgumentParser().parse_args(['--what'])", "def"],
)
def test_a_lab_s_module_that_breaks_or_ends_when_it_is_imported_is_an_error_of_its_task(
    cohort, tmp_path, monkeypatch, text
):
    name = f"lab_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="cannot be loaded"):
        run(cohort, tasks=["VideoRegisterRaw", f"{name}.Lick"])
    assert nothing_started(cohort)


def test_a_pipeline_of_one_session_refuses_what_that_does_not_have(cohort):
    with pytest.raises(UsageError, match=r"this session has no task VideoSyncQcBpod.*write VideoSyncQcNidq"):
        make_pipeline(cohort[0], tasks=["VideoSyncQcBpod"])


def test_names_of_tasks_are_a_list_or_a_text():
    assert as_names(None) is None
    assert as_names(["a", "b", "a"]) == as_names("a, b") == as_names(("a", " b")) == ["a", "b"]


def test_sessions_come_in_any_collection(tmp_path):
    folder = described(tmp_path)
    for sessions in ((folder,), iter([folder]), {folder: 1}):
        with pytest.raises(UsageError, match="h265"):
            ibd.run(sessions, encoding="h265")


@pytest.mark.parametrize("cls", OWN)
def test_our_own_tasks_take_no_argument_that_they_do_not_know(cls, tmp_path):
    with pytest.raises(UsageError, match="write cameras in place of camera"):
        cls(tmp_path / "SW_001" / "2023-05-01" / "001", camera=("left",))
    with pytest.raises(UsageError, match="takes no argument frobnicate"):
        cls(tmp_path / "SW_001" / "2023-05-01" / "001", frobnicate=1)
    with pytest.raises(UsageError, match="write overwrite in place of overwrites"):
        cls(described(tmp_path)).run(overwrites=True)


def test_a_lab_s_task_made_of_steps_takes_no_argument_of_run_that_nobody_looks_at(tmp_path):
    from lab_tasks import LickRate, Strict

    session = described(tmp_path)
    with pytest.raises(UsageError, match="write update in place of upd"):
        Strict(session).run(upd=False)
    assert Strict(session).run(update=False, overwrite=True) == 0
    assert LickRate(session).run(anything=1) == 0, "its own method takes it"


@given(cls=st.sampled_from(OWN), data=st.data())
def test_any_argument_with_two_letters_swapped_is_refused_and_the_right_one_named(cls, data):
    word = data.draw(st.sampled_from([name for name in keywords(cls) if len(name) > 3]))
    at = data.draw(st.integers(0, len(word) - 2))
    wrong = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if wrong in keywords(cls):
        return
    with pytest.raises(UsageError) as caught:
        cls("SW_001/2023-05-01/001", **{wrong: None})
    assert f"write {nearest(wrong, sorted(keywords(cls)))} in place of {wrong}" in caught.value.do


def test_a_lab_s_task_keeps_what_it_looks_for_itself_and_refuses_what_is_misspelt(tmp_path):
    from lab_tasks import Strict

    session = tmp_path / "SW_001" / "2023-05-01" / "001"
    assert Strict(session, threshold=3, pname="probe00").kwargs == {"threshold": 3, "pname": "probe00"}
    assert Strict(session, camera="body").camera == "body", "near to `cameras`, and its own"
    with pytest.raises(UsageError, match="name it in __init__"):
        Strict(session, overwrites=True)
    with pytest.raises(UsageError, match="sync_collection"):
        Strict(session, sync_colection="raw")


def test_every_option_of_a_pipeline_is_one_of_a_task():
    assert {"encoding", "raw_video", "chunk_pixels", "collection", "environments", "cameras"} <= set(known_options())
    check_options("run", {"encoding": "ibl", "raw_video": None}, known_options())
    check_value("anything", object())
