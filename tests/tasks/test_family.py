"""Tasks as labs write them: in the field's style, one method that returns files; or in ours, steps."""

import logging
import os
from pathlib import Path

import pytest

import ibl_dask as ibd
from ibl_dask.errors import DescriptionError, MissingFile, TaskFailed, UsageError
from ibl_dask.model.status import Status
from ibl_dask.model.step import Resources
from ibl_dask.store.failures import failure_from

_log = logging.getLogger("a_lab")


class Count(ibd.DynamicTask):
    """Counts the bytes of each camera file."""

    priority = 60
    level = 3
    cpu = 2
    gpu = 1
    ram = 8
    io_charge = 20
    time_out_secs = 60
    job_size = "large"
    env = "mine"
    force = True

    @property
    def signature(self):
        return {
            "input_files": [("_iblrig_*Camera.frameData.bin", "raw_video_data", True)],
            "output_files": [("lab.sizes.txt", "alf", True)],
        }

    def _run(self, overwrite=False, factor=1):
        _log.info("counting, overwrite=%s", overwrite)
        logging.getLogger("another").info("not mine")
        files = sorted((self.session_path / "raw_video_data").glob("*frameData.bin"))
        out = self.session_path / "alf" / "lab.sizes.txt"
        out.parent.mkdir(exist_ok=True)
        out.write_text(" ".join(str(factor * path.stat().st_size) for path in files))
        self.counted = len(files)
        return out


Count.__module__ = "a_lab.tasks"


def test_a_task_in_the_field_s_style_runs_and_every_attribute_is_there(session_folder):
    task = Count(session_folder)
    assert (task.priority, task.level, task.cpu, task.gpu, task.ram) == (60, 3, 2, 1, 8)
    assert (task.io_charge, task.time_out_secs, task.job_size, task.env, task.force) == (20, 60, "large", "mine", True)
    assert task.resources == Resources(2, 1, 8.0, is_estimate=True)
    assert (task.outputs, task.log, task.status) == (None, "", None)
    assert task.run(factor=2) == 0
    assert (task.state, task.status, task.counted) == (Status.COMPLETE, 0, 2)
    assert task.outputs == [session_folder / "alf" / "lab.sizes.txt"]
    assert "counting, overwrite=False" in task.log
    assert "not mine" not in task.log
    assert task.time_elapsed_secs > 0
    assert task.assert_expected_outputs() == (True, task.outputs)
    assert task.assert_expected_inputs()[0]
    assert task.assert_expected(task.output_files) == (True, task.outputs)
    assert [str(each) for each in task.input_files] == ["raw_video_data/_iblrig_*Camera.frameData.bin"]


class Sums(ibd.DynamicTask):
    """Sums up the sizes of the camera files, and counts how often it did."""

    runs = 0

    @property
    def signature(self):
        return {
            "input_files": [("_iblrig_*Camera.frameData.bin", "raw_video_data", True)],
            "output_files": [("lab.sum.txt", "alf", True)],
        }

    def _run(self, factor=1):
        type(self).runs += 1
        out = self.session_path / "alf" / "lab.sum.txt"
        out.parent.mkdir(exist_ok=True)
        sizes = (path.stat().st_size for path in (self.session_path / "raw_video_data").glob("*frameData.bin"))
        out.write_text(str(factor * sum(sizes)))
        return out


def test_what_was_done_is_kept_until_something_changes_and_a_review_says_what(session_folder):
    def why(force=None, **given):
        task = Sums(session_folder, force=force)
        task.given = given
        review, before = task.review(), Sums.runs
        assert task.run(**given) == 0
        assert task.outputs == [out]
        assert (Sums.runs > before) == (review.why != "nothing to do"), "it does what it said"
        return review.why

    out = session_folder / "alf" / "lab.sum.txt"
    assert [why(), why()] == ["missing output", "nothing to do"]
    assert [why(factor=2), why(factor=2)] == ["changed parameters", "nothing to do"]
    (video_file,) = (session_folder / "raw_video_data").glob("*leftCamera.frameData.bin")
    video_file.write_bytes(video_file.read_bytes() + b"more")
    assert [why(factor=2), why(factor=2)] == ["changed input", "nothing to do"]
    out.write_text("by another program")
    assert [why(factor=2), why(factor=2)] == ["changed output", "nothing to do"]
    out.unlink()
    assert [why(factor=2), why(factor=2)] == ["missing output", "nothing to do"]
    assert why(force=True, factor=2) == "forced"
    assert why(overwrite=True) != "nothing to do"


def test_what_failed_or_says_nothing_of_its_files_or_is_of_a_notebook_runs_again(session_folder):
    class Fails(Sums):
        def _run(self):
            super()._run()
            raise ZeroDivisionError

    class Says(Sums):
        @property
        def signature(self):
            return {"output_files": [("lab.sum.txt", "alf", True)]}

    class Typed(Sums):
        """Its text may change with every cell that is run."""

    Typed.__module__ = "__main__"
    for cls in (Fails, Says, Typed):
        before = cls.runs
        assert cls(session_folder).run() == cls(session_folder).run()
        assert cls.runs == before + 2
        assert cls(session_folder).review().why != "nothing to do"


def test_the_plain_form_of_a_task_carries_all_that_is_set_on_it(session_folder):
    spec = Count(session_folder).spec("Count_00", ["Before"])
    assert (spec.name, spec.parents, spec.priority, spec.io_charge) == ("Count_00", ("Before",), 60, 20)
    assert (spec.time_out_secs, spec.env, spec.job_size) == (60, "mine", "large")


def test_a_video_task_of_a_lab_may_leave_out_times_and_checks(session_folder):
    class Thumbnails(ibd.VideoTask):
        def _run(self):
            return []

    task = Thumbnails(session_folder, ["left"])
    assert (task.extract_camera(save=False), task.run_qc(update=False)) == (([], []), {})


@pytest.mark.parametrize("which", ["input", "output"])
def test_what_was_replaced_by_other_bytes_of_the_same_size_and_age_is_done_again(session_folder, which):
    def why():
        task = Sums(session_folder)
        review = task.review()
        assert task.run() == 0
        return review.why

    assert [why(), why()] == ["missing output", "nothing to do"]
    (given,) = (session_folder / "raw_video_data").glob("*leftCamera.frameData.bin")
    path = given if which == "input" else session_folder / "alf" / "lab.sum.txt"
    stat, good = path.stat(), path.read_bytes()
    path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert [why(), why()] == [f"changed {which}", "nothing to do"]
    os.utime(path)
    path.chmod(0o600)
    assert why() == "nothing to do", "to be touched is not to change"


def test_overwrite_reaches_a_method_that_takes_it_and_harms_none_that_does_not(session_folder):
    class Plain(ibd.Task):
        def _run(self):
            return []

    task = Count(session_folder)
    assert task.run(overwrite=True) == 0
    assert "overwrite=True" in task.log
    assert Plain(session_folder).run(overwrite=True) == 0
    unknown = Plain(session_folder)
    assert unknown.run(typing_error=True) == -1
    assert "typing_error" in unknown.failures[0].message


def test_nothing_global_is_changed_by_capturing_a_log(session_folder):
    before = (list(logging.getLogger().handlers), logging.getLogger().level, logging.getLogger("a_lab").level)
    Count(session_folder).run()
    assert (list(logging.getLogger().handlers), logging.getLogger().level, logging.getLogger("a_lab").level) == before


@pytest.mark.parametrize("on_error", ["continue", "raise"])
def test_an_error_is_in_the_log_and_in_the_failure(session_folder, on_error):
    class Breaks(ibd.Task):
        cleaned = False

        def _run(self, **kwargs):
            raise ZeroDivisionError("one by nothing")

        def tearDown(self):
            self.cleaned = True

    task = Breaks(session_folder, on_error=on_error)
    if on_error == "raise":
        with pytest.raises(TaskFailed, match="one by nothing"):
            task.run()
    else:
        assert task.run() == -1
    assert task.status == -1
    assert task.cleaned
    (failure,) = task.failures
    assert (failure.kind, failure.category) == ("ZeroDivisionError", "bug")
    (log,) = (session_folder / "ibl_dask" / "logs" / "Breaks").iterdir()
    assert log.read_text() in task.log
    assert "Traceback" in log.read_text()
    assert "ZeroDivisionError: one by nothing" in log.read_text()


@pytest.mark.parametrize(
    ("status", "made", "state", "code"),
    [
        (0, [], "Complete", 0),
        (0, None, "Empty", 0),
        (-1, [], "Errored", -1),
        (-2, [], "Waiting", -2),
        (-3, [], "Incomplete", -3),
    ],
)
def test_a_status_that_the_method_sets_and_what_it_returns_mean_what_they_do_in_the_field(
    session_folder, status, made, state, code
):
    class Sets(ibd.Task):
        def _run(self, **kwargs):
            self.status = status
            return made

    task = Sets(session_folder)
    assert task.run() == code
    assert (task.state, task.status) == (state, code)
    assert bool(task.failures) is (code != 0)


def test_a_task_is_not_complete_without_its_outputs_nor_with_empty_ones(session_folder):
    class Promises(ibd.Task):
        @property
        def signature(self):
            return {"output_files": [("x.npy", "alf"), ("y.npy", "alf", False)]}

        def _run(self, **kwargs):
            return []

    task = Promises(session_folder)
    assert task.run() == -1
    assert "alf/x.npy" in task.failures[0].message
    assert "y.npy" not in task.failures[0].message
    (session_folder / "alf").mkdir(exist_ok=True)
    (session_folder / "alf" / "x.npy").touch()
    assert task.run() == -1
    with pytest.raises(MissingFile, match="an empty one"):
        task.assert_expected_outputs()
    (session_folder / "alf" / "x.npy").write_text("x")
    assert task.run() == 0


def test_without_what_it_reads_a_method_is_not_called(session_folder):
    for path in (session_folder / "raw_video_data").glob("*frameData.bin"):
        path.unlink()
    task = Count(session_folder)
    assert task.run() == -1
    assert task.failures[0].category == "missing_input"
    assert not hasattr(task, "counted")


def test_where_set_up_says_no_the_method_is_left_out(session_folder):
    class Done(Count):
        def setUp(self, **kwargs):
            return False

    (session_folder / "alf").mkdir(exist_ok=True)
    (session_folder / "alf" / "lab.sizes.txt").write_text("as before")
    task = Done(session_folder)
    assert task.run() == 0
    assert task.outputs[0].read_text() == "as before"


def test_where_results_go_elsewhere_only_what_knows_how_runs(session_folder, tmp_path):
    class Knows(ibd.Task):
        writes_elsewhere = True

        def _run(self, **kwargs):
            path = self.session.outputs / "alf" / "x.npy"
            path.write_text("x")
            return [path]

    away = tmp_path / "out"
    task = Count(session_folder, output_root=away)
    assert task.run() == -2
    assert "--output-root" in task.failures[0].message
    assert not (session_folder / "alf" / "lab.sizes.txt").exists()
    known = Knows(session_folder, output_root=away)
    assert known.run() == 0
    assert known.outputs[0].is_relative_to(away)


def test_what_the_field_s_callers_pass_is_taken_and_does_not_become_an_argument(session_folder):
    parent = ibd.VideoCompress(session_folder)
    parent.level = 4
    task = ibd.VideoRegisterRaw(
        session_folder,
        cameras=("left",),
        one=object(),
        taskid="id",
        machine="here",
        clobber=False,
        location="server",
        parents=[parent],
    )
    assert (task.level, task.machine, task.location, task.taskid) == (5, "here", "server", "id")
    assert {"one", "taskid", "machine", "parents", "location"}.isdisjoint(task.arguments())
    assert Count(session_folder).force
    assert not Count(session_folder, force=False).force


def test_behaviour_knows_its_protocol_and_where_results_go(session_folder):
    description = session_folder / "_ibl_experiment.description.yaml"
    text = description.read_text().split("tasks:")[0]
    description.write_text(
        text + "tasks:\n- one:\n    collection: raw_task_data_00\n- two:\n    collection: raw_task_data_01\n"
    )
    with pytest.raises(DescriptionError, match="which protocol"):
        _ = ibd.BehaviourTask(session_folder).collection
    task = ibd.BehaviourTask(session_folder, collection="raw_task_data_01", protocol_number=0)
    assert (task.protocol, task.protocol_number, task.output_collection) == ("two", 0, "alf/task_00")
    assert ibd.BehaviourTask(session_folder, protocol="one").collection == "raw_task_data_00"
    again = ibd.BehaviourTask(session_folder, **task.arguments())
    assert again.arguments() == task.arguments()
    assert ibd.BehaviourTask(session_folder, protocol="one").output_collection == "alf"


def test_a_method_stands_for_the_steps_of_the_class_that_it_is_added_to(session_folder):
    class Mine(ibd.VideoSyncQcNidq):
        def _run(self, update=True, **kwargs):
            times, files = self.extract_camera(save=True)
            self.lengths = [len(each) for each in times]
            return files

    task = Mine(session_folder, cameras=("left",))
    assert task.run(update=False) == 0
    assert task.lengths == [300]
    assert session_folder / "alf" / "_ibl_leftCamera.times.npy" in task.outputs
    assert not (session_folder / "ibl_dask" / "leftCamera-frames.zarr").exists()


class Rename(ibd.RegisterRawDataTask):
    @property
    def signature(self):
        return {
            "input_files": [("old.bin", "raw", True), ("spare.bin", "raw", False)],
            "output_files": [("new.bin", "raw_named", True), ("spare.new.bin", "raw_named", False)],
        }


@pytest.mark.parametrize("symlink_old", [False, True])
def test_raw_files_get_the_names_of_all_others_once(session_folder, symlink_old):
    old, new = session_folder / "raw" / "old.bin", session_folder / "raw_named" / "new.bin"
    old.parent.mkdir()
    old.write_text("content")
    task = Rename(session_folder)
    assert task.run(symlink_old=symlink_old) == 0
    assert task.outputs == [new]
    assert new.read_text() == "content"
    assert old.is_symlink() is symlink_old
    assert Rename(session_folder).run(symlink_old=symlink_old) == 0
    assert new.read_text() == "content"
    assert not new.is_symlink()


@pytest.mark.parametrize("taken_by", ["another file", "a link that leads nowhere", "a killed run"])
def test_a_raw_file_takes_no_name_that_is_taken(session_folder, taken_by):
    old, new = session_folder / "raw" / "old.bin", session_folder / "raw_named" / "new.bin"
    old.parent.mkdir()
    new.parent.mkdir()
    old.write_text("content")
    if taken_by == "another file":
        new.write_text("another")
    elif taken_by == "a link that leads nowhere":
        new.symlink_to("nowhere")
    else:
        new.hardlink_to(old)
    assert Rename(session_folder).run() == (0 if taken_by == "a killed run" else -1)
    if taken_by == "a killed run":
        assert (old.exists(), new.read_text()) == (False, "content")
    else:
        assert old.read_text() == "content"
        assert new.is_symlink() or new.read_text() == "another"


def test_a_raw_file_that_is_not_there_under_either_name_is_an_error(session_folder):
    task = Rename(session_folder)
    assert task.run() == -1
    assert "raw/old.bin" in task.failures[0].message


def test_names_that_do_not_fit_the_files_are_refused(session_folder):
    class Uneven(ibd.RegisterRawDataTask):
        @property
        def signature(self):
            return {"input_files": [("*.bin", "raw")], "output_files": [("new.bin", "raw"), ("b.bin", "raw")]}

    task = Uneven(session_folder)
    assert task.run() == -1
    assert task.failures[0].kind == "UsageError"
    assert failure_from(UsageError("x")).category == task.failures[0].category


def test_the_same_work_is_done_by_a_list_of_expected_datasets(session_folder):
    wanted = ibd.ExpectedDataset

    class Own(Count):
        @property
        def signature(self):
            either = wanted.input("_iblrig_leftCamera.frameData.bin", "raw_video_data") | ("gone.bin", "raw")
            return {"input_files": [either], "output_files": [wanted.output("lab.sizes.txt", "alf")]}

    task = Own(session_folder)
    assert task.run() == 0
    assert task.outputs == [Path(session_folder, "alf", "lab.sizes.txt")]
