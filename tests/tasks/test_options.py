"""Options are declared once, and refused alike in Python, on the command line and in files where they are misspelt."""

import pytest
import yaml
from described import described
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ibl_dask.cli.app import app
from ibl_dask.errors import MissingEnvironment, UnusableFile, UsageError
from ibl_dask.model.session import Session
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.store.pipeline_tasks_yaml import SPECS_NAME, read_specs
from ibl_dask.tasks.external.environments import Environments
from ibl_dask.tasks.options import OPTIONS, Option
from ibl_dask.tasks.registry import build_task, known_options

ON_COMMAND_LINE = [option for option in OPTIONS.values() if option.help]


def call(*arguments):
    # Wide enough that no message is folded.
    return CliRunner(env={"COLUMNS": "1000"}).invoke(app, list(map(str, arguments)))


def test_every_option_is_an_argument_of_a_task_or_of_the_pipeline():
    assert set(OPTIONS) - {"pose"} <= set(known_options())
    assert all(name == option.name for name, option in OPTIONS.items())


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_the_command_line_has_the_options_that_are_declared_for_it(verb):
    text = call(verb, "--help").output
    assert all(option.flag in text for option in ON_COMMAND_LINE)
    assert "--chunk-pixels" not in text


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize("option", ON_COMMAND_LINE, ids=lambda option: option.name)
def test_a_misspelt_option_is_refused_on_the_command_line_and_the_right_one_named(verb, option):
    ended = call(verb, "x", option.flag[:-1], "1")
    assert ended.exit_code == 2
    assert f"No such option: {option.flag[:-1]}" in ended.output
    assert option.flag in ended.output.partition("Possible options")[2]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("encoding", "ibl_bpd"),
        ("raw_video", "trahs"),
        ("pose", "dcl"),
        ("longest_extrapolation_s", -3.0),
        ("reference_frames", "nowhere"),
    ],
)
def test_python_and_the_command_line_refuse_a_value_in_the_same_words(tmp_path, option, value):
    folder = described(tmp_path)
    with pytest.raises(UsageError) as caught:
        make_pipeline(folder, **{option: [value] if OPTIONS[option].is_list else value})
    ended = call("plan", folder, OPTIONS[option].flag, value)
    assert str(ended.exception) == str(caught.value)


def test_a_list_is_given_with_commas_between_and_none_is_empty():
    assert OPTIONS["pose"].read(" dlc, lightning_pose,") == ["dlc", "lightning_pose"]
    assert OPTIONS["pose"].read("none") == []


def test_an_option_of_python_alone_is_named_without_a_flag():
    with pytest.raises(UsageError, match=r"^chunk_pixels cannot be 0"):
        OPTIONS["chunk_pixels"].require(0)
    assert Option("raw_video", help="...").label == "--raw-video (raw_video)"


@pytest.mark.parametrize("name", ["VideoRegisterRaw", "VideoCompress", "VideoConvert", "VideoSyncQcNidq"])
def test_a_misspelt_argument_in_a_file_of_tasks_makes_its_task_unusable_and_names_the_right_one(tmp_path, name):
    spec = TaskSpec(name, f"ibllib.pipes.video_tasks.{name}", {"camreas": ["left"]})
    review = build_task(spec, Session(described(tmp_path))).review()
    assert review.why == "unusable"
    assert "write cameras in place of camreas" in review.detail


def test_a_misspelt_key_in_a_file_of_tasks_is_refused(tmp_path):
    row = {**TaskSpec("VideoCompress", "ibllib.pipes.video_tasks.VideoCompress").to_dict(), "status": "Waiting"}
    (tmp_path / SPECS_NAME).write_text(yaml.safe_dump([row]))
    assert [spec.name for spec in read_specs(tmp_path)] == ["VideoCompress"]
    (tmp_path / SPECS_NAME).write_text(yaml.safe_dump([{**row, "argumnts": {"cameras": ["left"]}}]))
    with pytest.raises(UnusableFile, match="write arguments in place of argumnts"):
        read_specs(tmp_path)


@given(st.sampled_from([name for name in TaskSpec("a", "b.c").to_dict() if len(name) > 4]), st.data())
def test_any_key_of_a_task_with_two_letters_swapped_is_refused(key, data):
    at = data.draw(st.integers(0, len(key) - 2))
    wrong = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    if wrong == key:
        return
    with pytest.raises(UsageError, match=f"in place of {wrong}"):
        TaskSpec.from_dict({"name": "a", "executable": "b.c", wrong: 1})


def test_a_row_of_alyx_is_read_with_all_its_keys():
    alyx = ("id", "status", "log", "session", "graph", "module", "version", "data_repository", "datetime")
    row = {"name": "a", "executable": "b.c", **dict.fromkeys((*alyx, "time_elapsed_secs"))}
    assert TaskSpec.from_dict(row).name == "a"


def test_a_misspelt_label_of_an_environment_is_named():
    with pytest.raises(MissingEnvironment, match="write litpose in place of lit_pose"):
        Environments({"lit_pose": "/envs/litpose"}).python_of("litpose")
