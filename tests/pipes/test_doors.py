"""Scripts of the field, with `ibl_dask.pipes` in place of `ibllib.pipes`."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from described import described

import ibl_dask as ibd
from ibl_dask import pipes
from ibl_dask.errors import MissingDatabase, UsageError
from ibl_dask.pipes import (
    base_tasks,
    behavior_tasks,
    dynamic_pipeline,
    local_server,
    misc,
    routing,
    spec,
    tasks,
    video_tasks,
)
from ibl_dask.pipes.absent import NotOffered


def test_tasks_of_this_package_are_the_very_classes() -> None:
    assert video_tasks.VideoCompress is ibd.VideoCompress
    assert base_tasks.BehaviourTask is ibd.BehaviourTask
    assert tasks.Task is ibd.Task
    assert tasks.str2class("ibllib.pipes.video_tasks.VideoSyncQcNidq") is ibd.VideoSyncQcNidq


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch) -> Path:
    """Return a file that the module `stranger` leaves when it is imported."""
    folder, mark = tmp_path / "modules", tmp_path / "imported"
    folder.mkdir()
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\nimport ibl_dask\n"
    (folder / "stranger.py").write_text(f"{code}class X(ibl_dask.DynamicTask):\n    def _run(self): return []\n")
    monkeypatch.syspath_prepend(str(folder))
    yield mark
    sys.modules.pop("stranger", None)


@pytest.mark.parametrize("path", ["stranger.X", "os.path.join", "ibllib_stranger.X", "ibl_dask.cli.app", "", "a b.c"])
def test_a_class_by_its_path_is_of_an_allowed_package_or_not_imported(stranger: Path, path: str) -> None:
    with pytest.raises(UsageError) as caught:
        tasks.str2class(path)
    assert caught.value.do
    assert not stranger.exists()


def test_a_lab_names_its_package_to_have_it_imported(stranger: Path, monkeypatch) -> None:
    monkeypatch.setenv("IBL_DASK_TASK_PACKAGES", "stranger")
    assert tasks.str2class("stranger.X").__name__ == "X"
    assert stranger.exists()
    assert tasks.str2class("ibl_dask.pipes.video_tasks.VideoCompress") is ibd.VideoCompress
    assert tasks.str2class("ibllib.pipes.behavior_tasks.ChoiceWorldTrialsBpod") is behavior_tasks.ChoiceWorldTrialsBpod


def test_a_list_of_tasks_in_a_session_imports_nothing_until_somebody_builds_it(stranger: Path, tmp_path: Path) -> None:
    path = described(tmp_path)
    (path / "pipeline_tasks.yaml").write_text("- {name: X, executable: stranger.X, arguments: {}, parents: []}\n")
    assert "X" not in ibd.make_pipeline(path).tasks
    rows = dynamic_pipeline.load_pipeline_dict(path)
    assert [row["executable"] for row in rows] == ["stranger.X"]
    pipeline = tasks.Pipeline(path, tasks={"X": rows[0]})
    assert [spec.name for spec in pipeline.task_specs()] == ["X"]
    assert not stranger.exists()
    assert pipeline.tasks["X"].name == "X"
    assert stranger.exists()


def test_tasks_of_other_environments_are_classes_that_say_what_they_need(tmp_path: Path) -> None:
    path = described(tmp_path)
    task = behavior_tasks.ChoiceWorldTrialsBpod(path, collection="raw_behavior_data", on_error="continue")
    assert (task.name, task.job_size, task.priority) == ("ChoiceWorldTrialsBpod", "small", 90)
    assert task.spec().executable == "ibllib.pipes.behavior_tasks.ChoiceWorldTrialsBpod"
    assert task.arguments() == {"collection": "raw_behavior_data"}
    assert type(pickle.loads(pickle.dumps(task))) is behavior_tasks.ChoiceWorldTrialsBpod
    assert "environment" in task.unmet_requirement().message


def test_a_deck_is_filled_as_in_the_field(tmp_path: Path) -> None:
    deck: dict[str, ibd.Task] = {}
    pipes.assign_task(deck, described(tmp_path), video_tasks.VideoCompress, cameras=("left",))
    assert list(deck) == ["VideoCompress"]


def test_a_name_that_is_not_offered_names_the_way_to_go() -> None:
    with pytest.raises(NotOffered, match="use iblrig"):
        misc.WindowsInhibitor  # noqa: B018
    with pytest.raises(ImportError, match="histology"):
        from ibl_dask.pipes.histology import get_picked_tracks  # noqa: F401
    with pytest.raises(AttributeError):
        misc.no_such_name  # noqa: B018
    assert not hasattr(video_tasks, "no_such_name")


def test_a_pipeline_lists_its_tasks_without_alyx(tmp_path: Path) -> None:
    path = described(tmp_path)
    pipeline = dynamic_pipeline.make_pipeline(path)
    names = [spec.name for spec in pipeline.task_specs()]
    assert set(names) == set(pipeline.tasks) == set(ibd.make_pipeline(path).tasks)
    rows = dynamic_pipeline.make_pipeline_dict(pipeline)
    assert [row["name"] for row in dynamic_pipeline.load_pipeline_dict(path)] == names
    assert {row["status"] for row in rows} == {"Waiting"}
    tail = tasks.Pipeline(path, tasks={"VideoCompress": ibd.VideoCompress(path, cameras=("left",))})
    assert [spec.name for spec in tail.task_specs()] == ["VideoCompress"]
    with pytest.raises(UsageError, match="folder of its session"):
        tasks.Pipeline(eid="f9502295-bd4c-4643-99a6-99278d7d75ac")


def test_a_server_function_without_access_says_what_to_set(monkeypatch) -> None:
    for name in ("URL", "USER", "TOKEN", "TOKEN_FILE"):
        monkeypatch.delenv(f"IBL_DASK_ALYX_{name}", raising=False)
    with pytest.raises(UsageError, match="IBL_DASK_ALYX_URL"):
        local_server.task_queue()
    assert local_server.list_available_envs() == [None]


def test_importing_the_package_loads_neither_doors_nor_requests() -> None:
    modules = ("ibl_dask.pipes", "ibl_dask.alyx", "requests", "one")
    code = f"import sys, ibl_dask; print([m for m in {modules} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- specs and members of the reference -------------------------------------------------------------------------------


def test_a_spec_is_made_with_the_arguments_of_the_reference_and_goes_to_alyx_and_back(tmp_path: Path) -> None:
    path = described(tmp_path)
    made = spec.TaskSpec("DLC", "ibllib.pipes.video_tasks.DLC", {"cameras": ["left"]}, ["Raw"], gpu=1, cpu=4, ram=16)
    assert (made.gpu, made.cpu, made.ram, made.priority, made.time_out_secs) == (1, 4, 16, 30, 7200)
    row = made.to_alyx(parents=["an-id"], session="eid", graph="Pipeline")
    assert (row["ram"], row["parents"], row["status"], row["session"]) == (16, ["an-id"], "Waiting", "eid")
    assert "env" not in row
    assert made.to_alyx()["parents"] == ["Raw"]
    assert spec.TaskSpec.from_dict(made.to_dict()) == made
    parent = ibd.VideoCompress(path, cameras=("left",))
    child = ibd.VideoRegisterRaw(path, cameras=("left",), parents=[parent])
    read = spec.TaskSpec.from_task(child)
    assert (read.name, read.parents, read.level) == ("VideoRegisterRaw", ("VideoCompress",), 1)
    assert isinstance(read.instantiate(path), ibd.VideoRegisterRaw)
    ordered = spec.sort_specs([read, spec.TaskSpec.from_task(parent)])
    assert [each.name for each in ordered] == ["VideoCompress", "VideoRegisterRaw"]
    assert parent.to_spec().to_alyx()["executable"] == "ibl_dask.tasks.video_mp4.compress_task.VideoCompress"
    for given in (None, {"VideoCompress": spec.TaskSpec.from_task(parent)}, {"VideoCompress": parent}):
        for each in tasks.Pipeline(path, tasks=given).task_specs():
            assert each.instantiate(path).name


def test_an_environment_is_found_by_the_routes_that_are_given() -> None:
    assert routing.task_env("ibllib.pipes.video_tasks.DLC") == "dlc"
    routes = {"lab": "a", "lab.pose.": "b"}
    found = [routing.task_env(name, routes) for name in ("lab.x.T", "lab.pose.T", "laboratory.T")]
    assert found == ["a", "b", None]


@pytest.mark.parametrize(
    ("member", "arguments"),
    [
        ("register_datasets", {"labs": "x"}),
        ("register_images", {}),
        ("get_data_handler", {"location": "server"}),
        ("is_locked", {}),
        ("make_lock_file", {"taskname": "x"}),
    ],
)
def test_a_member_of_a_task_that_has_no_work_here_names_the_way_to_go(tmp_path: Path, member, arguments) -> None:
    task = ibd.VideoCompress(described(tmp_path), cameras=("left",))
    with pytest.raises(UsageError, match=r"What to do: \S"):
        getattr(task, member)(**arguments)


def test_a_task_finds_its_session_in_alyx_with_the_one_that_it_was_given(tmp_path: Path) -> None:
    class One:
        def path2eid(self, path, query_type):
            return f"{path.name} {query_type}"

    path = described(tmp_path)
    assert ibd.VideoCompress(path, cameras=("left",), one=One()).path2eid() == "001 remote"
    task = ibd.VideoCompress(path, cameras=("left",))
    task.get_signatures()
    with pytest.raises(MissingDatabase, match="no ONE"):
        task.path2eid()


def test_a_pipeline_has_the_members_of_the_reference(tmp_path: Path) -> None:
    path = described(tmp_path)
    file = path / "_ibl_experiment.description.yaml"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith("sync")))
    pipeline = tasks.Pipeline(path)
    assert pipeline.label == "ibl_dask.alyx.session_pipeline.Pipeline"
    assert pipeline.planner_errors.keys() >= {"sync"}
    with pytest.raises(UsageError, match="ibl-dask plan"):
        pipeline.make_graph(show=False)
