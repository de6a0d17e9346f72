import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import MissingEnvironment, MissingFile, NoPulses, TaskFailed
from ibl_dask.model.failure import Failure
from ibl_dask.report.failure_groups import group_failures, session_failures
from ibl_dask.store.failures import failure_from

LABELS = ("left", "right", "body")


def session(n, *failures, subject="SW", **row):
    return {"session": f"{subject}_{n:03}/2023-05-01/001", "failures": list(failures), "state": "failed", **row}


def no_video(n, label="left"):
    folder = f"/mnt/lab/Subjects/SW_{n:03}/2023-05-{n % 28 + 1:02}/001/raw_video_data"
    return failure_from(
        MissingFile(
            f"the {label} camera has no video",
            where=folder,
            expected=f"_iblrig_{label}Camera.raw.mp4 or .avi",
            got=f"{n} other files",
            do=f"copy it to {folder}",
        )
    )


def no_pulses(n, label="right"):
    return failure_from(NoPulses(f"{n:,} pulses of {2 * n:,} frames", f"{label} camera of SW_{n:03}", do="check it"))


def environment(name):
    return failure_from(MissingEnvironment(f"no environment {name!r} is known", got="neither", do="name it"))


def test_one_cause_is_one_group_whatever_the_session_the_camera_and_the_numbers():
    rows = [session(n, no_video(n, LABELS[n % 3]), no_pulses(1000 * n + 1)) for n in range(1, 31)]
    (video, pulses) = sorted(group_failures(rows), key=lambda group: group.first.kind)
    assert len(video.sessions) == len(pulses.sessions) == 30
    assert set(video.cameras) == set(LABELS)
    assert pulses.cameras == ("right",)
    assert video.examples == tuple(row["session"] for row in rows[:3])
    assert video.first == no_video(1, "right")


def test_causes_that_differ_are_told_apart():
    failed = [TaskFailed("Lick failed", got=f"{error}; the end of its log: {n}") for n, error in enumerate(("A", "B"))]
    different = [
        no_video(1),
        no_pulses(1),
        environment("ibllib"),
        environment("dlc"),
        *map(failure_from, failed),
        failure_from(MissingFile("Lick lacks what it reads", expected="_ibl_wheel.position.npy")),
        failure_from(MissingFile("Lick lacks what it reads", expected="_ibl_trials.table.pqt")),
        failure_from(ValueError("x")),
        failure_from(KeyError("x")),
    ]
    assert len(group_failures([session(1, *different)])) == len(different)


def test_a_log_in_a_failure_does_not_split_its_group():
    rows = [
        session(n, failure_from(TaskFailed("Lick failed", got=f"A; the end of its log: {'x' * n}"))) for n in (1, 2)
    ]
    assert len(group_failures(rows)) == 1


def test_failures_come_before_waits_and_what_concerns_most_sessions_first():
    dlc = environment("dlc")
    rows = [session(n, waiting={"DLC": dlc}, not_required=["DLC"], state="done") for n in range(9)]
    rows += [session(20, no_video(20)), session(21, no_pulses(21)), session(22, no_pulses(22))]
    full = Failure("DiskFull", "disk", "the disk is full.")
    groups = group_failures([*rows, session(30, full)])
    assert [group.first.kind for group in groups] == ["NoPulses", "DiskFull", "MissingFile", "MissingEnvironment"]
    assert [group.is_wait for group in groups] == [False, False, False, True]
    assert groups[-1].tasks == ("DLC",)
    assert len(groups[-1].sessions) == 9


@pytest.mark.parametrize(
    ("row", "is_wait"),
    [
        ({"not_required": ["DLC"], "state": "done"}, True),
        ({"not_required": [], "state": "failed"}, False),
        ({"state": "done"}, True),
        ({"state": "failed"}, False),
        ({"state": "failed", "failures": [no_video(1)]}, True),
    ],
)
def test_a_wait_for_what_was_asked_for_is_a_failure(row, is_wait):
    groups = group_failures([{"session": "s", "waiting": {"DLC": environment("dlc")}, **row}])
    assert [group.is_wait for group in groups if group.first.kind == "MissingEnvironment"] == [is_wait]


def test_tasks_of_a_failure_are_named():
    failure = no_pulses(3)
    (group,) = group_failures([session(3, failure, task_failures={"VideoSyncQC_nidq": [failure], "Other": []})])
    assert group.tasks == ("VideoSyncQC_nidq",)
    assert group.n_failures == 1


def test_two_sessions_of_one_name_count_as_two():
    rows = [session(1, no_video(1), path=f"/{lab}/Subjects/SW_001/2023-05-01/001") for lab in ("a", "b")]
    (group,) = group_failures(rows)
    assert len(group.sessions) == 2


def test_rows_may_hold_little_and_old_records_no_parts():
    assert group_failures([]) == []
    assert group_failures([{"session": "x"}]) == []
    (group,) = group_failures([{"session": "x", "failures": [Failure("", "input", "a message of an older version")]}])
    assert group.reason == "a message of an older version"


def test_a_group_as_json_names_every_session():
    rows = [session(n, no_video(n)) for n in range(9)]
    (told,) = json.loads(json.dumps([group.to_json() for group in group_failures(rows)]))
    assert told["sessions"] == [row["session"] for row in rows]
    assert told["category"] == "missing_input"
    assert told["first"]["do"] == told["do"]


FAULTS = {"video": no_video, "pulses": no_pulses}


@given(st.lists(st.lists(st.tuples(st.sampled_from(sorted(FAULTS)), st.integers(1, 99_999), st.sampled_from(LABELS)))))
def test_every_failure_is_in_exactly_one_group(faults):
    rows = [session(n, *(FAULTS[kind](number, label) for kind, number, label in each)) for n, each in enumerate(faults)]
    groups = group_failures(rows)
    assert len(groups) == len({kind for each in faults for kind, _, _ in each})
    assert sum(group.n_failures for group in groups) == sum(len(session_failures(row)) for row in rows)
    for group in groups:
        name = {"MissingFile": "video", "NoPulses": "pulses"}[group.first.kind]
        assert len(group.sessions) == sum(any(kind == name for kind, _, _ in each) for each in faults)


@given(st.text(), st.text(), st.text())
def test_no_text_is_too_odd_to_be_grouped(what, got, name):
    assert len(group_failures([{"session": name, "failures": [Failure("TaskFailed", "bug", what, got=got)]}])) == 1
