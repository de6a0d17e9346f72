"""Experiment descriptions as rigs write them, and as people mangle them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import DescriptionError
from ibl_dask.model.description import Camera, ExperimentDescription, Protocol, Sync
from ibl_dask.model.description_reader import read_description

TRAINING = """\
version: '1.0.0'
procedures: [Behavior training/tasks]
projects: [my_project]
sync: {bpod: {collection: raw_task_data_00}}
devices:
  cameras: {left: {collection: raw_video_data, sync_label: audio}}
  microphone: {microphone: {collection: raw_task_data_00, sync_label: null}}
tasks:
  - _iblrig_tasks_trainingChoiceWorld: {collection: raw_task_data_00, sync_label: bpod}
"""
EPHYS = """\
version: '1.0.0'
sync: {nidq: {collection: raw_ephys_data, extension: bin, acquisition_software: spikeglx}}
devices:
  cameras:
    left:  {collection: raw_video_data, sync_label: audio}
    right: {collection: raw_video_data, sync_label: audio}
    body:  {collection: raw_video_data, sync_label: audio}
  neuropixel: {probe00: {collection: raw_ephys_data/probe00, sync_label: imec_sync}}
tasks:
  - _iblrig_tasks_ephysChoiceWorld:   {collection: raw_task_data_00, sync_label: bpod}
  - _iblrig_tasks_passiveChoiceWorld: {collection: raw_task_data_01, sync_label: bpod}
"""


@pytest.fixture
def read(tmp_path: Path):
    def read(text: str | bytes) -> ExperimentDescription:
        path = tmp_path / "_ibl_experiment.description.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_description(path)

    return read


def test_training_rig(read) -> None:
    description = read(TRAINING)
    assert description.sync == Sync("bpod", "raw_task_data_00")
    assert description.cameras == (Camera("left"),)
    assert description.camera("left") == Camera("left", fps=30, width=1280, height=1024)
    assert description.protocols == (Protocol("_iblrig_tasks_trainingChoiceWorld", "raw_task_data_00", "bpod", 0),)
    assert description.procedures == ("Behavior training/tasks",)
    assert description.projects == ("my_project",)
    assert description.version == "1.0.0"
    assert set(description.devices) == {"microphone"}


def test_ephys_rig_with_chained_tasks(read) -> None:
    description = read(EPHYS)
    assert description.sync == Sync("nidq", "raw_ephys_data", "bin", "spikeglx")
    assert [c.label for c in description.cameras] == ["body", "left", "right"]
    rates = {c.label: description.camera(c.label).fps for c in description.cameras}
    assert rates == {"left": 60, "right": 150, "body": 30}
    assert (description.camera("right").width, description.camera("right").height) == (640, 512)
    assert [(p.name.removeprefix("_iblrig_tasks_"), p.collection, p.number) for p in description.protocols] == [
        ("ephysChoiceWorld", "raw_task_data_00", 0),
        ("passiveChoiceWorld", "raw_task_data_01", 1),
    ]
    assert description.procedures == description.projects == ()


def test_real_description_of_a_widefield_session(data_folder: Path) -> None:
    description = read_description(data_folder / "behaviour" / "_ibl_experiment.description.yaml")
    assert description.cameras == ()
    assert description.sync == Sync("nidq", "raw_ephys_data", "bin", "spikeglx")
    assert [p.name for p in description.protocols] == ["passiveChoiceWorld", "ephysChoiceWorld"]
    assert description.collections_of("ephysChoiceWorld") == ("raw_behavior_data",)
    assert set(description.devices) == {"widefield", "microphone", "neuropixel"}
    assert description.projects == ("ibl_neuropixel_brainwide_01", "ibl_cortexlab")
    with pytest.raises(DescriptionError, match="no camera at all"):
        description.camera("left")


@pytest.mark.parametrize(
    ("text", "version"), [("version: 1.0", "1.0"), ("version: '1.0.0'", "1.0.0"), ("version: 2", "2")]
)
def test_version_may_lack_quotes(read, text: str, version: str) -> None:
    assert read(text).version == version


BOTH = (("active", "raw_task_data_00", 0), ("passive", "raw_task_data_01", 1))


@pytest.mark.parametrize(
    "tasks",
    [
        [{"active": {"collection": "raw_task_data_00"}}, {"passive": {"collection": "raw_task_data_01"}}],
        [{"active": {"collection": "raw_task_data_00"}, "passive": {"collection": "raw_task_data_01"}}],
        {"active": {"collection": "raw_task_data_00"}, "passive": {"collection": "raw_task_data_01"}},
    ],
    ids=["single-key dictionaries", "one dictionary in a list", "one dictionary"],
)
def test_tasks_may_be_written_in_any_layout(read, tasks) -> None:
    description = read(yaml.safe_dump({"tasks": tasks}, sort_keys=False))
    assert tuple((p.name, p.collection, p.number) for p in description.protocols) == BOTH


@pytest.mark.parametrize("tasks", ["[habituation]", "[{habituation: null}]", "{habituation: }"])
def test_task_without_anything_said_about_it_is_still_a_task(read, tasks: str) -> None:
    assert read(f"tasks: {tasks}").protocols == (Protocol("habituation"),)


def test_protocol_run_twice_keeps_both_collections(read) -> None:
    description = read(
        "tasks: [{cw: {collection: raw_task_data_00}}, {rf: {collection: raw_task_data_01}}, "
        "{cw: {collection: raw_task_data_02}}]"
    )
    assert description.collections_of("cw") == ("raw_task_data_00", "raw_task_data_02")
    assert [p.number for p in description.protocols if p.name == "cw"] == [0, 2]
    second = description.protocol_in("raw_task_data_02")
    assert second is not None
    assert (second.name, second.number) == ("cw", 2)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("'0'", 0), ("7", 7), ("null", 1)])
def test_protocol_number_is_the_one_given_even_if_zero(read, text: str, number: int) -> None:
    description = read(f"tasks: [{{other: {{}}}}, {{cw: {{collection: c, protocol_number: {text}}}}}]")
    assert description.protocols[1].number == number


def test_unknown_protocol_and_collection_are_empty_not_errors(read) -> None:
    description = read(EPHYS)
    assert description.collections_of("somethingElse") == ()
    assert description.protocol_in("raw_task_data_07") is None


@pytest.mark.parametrize(("text", "names"), [("Extra", ("Extra",)), ("[A, B]", ("A", "B")), ("null", ())])
def test_extractors_may_be_one_name_or_several(read, text: str, names: tuple[str, ...]) -> None:
    assert read(f"tasks: [{{cw: {{extractors: {text}}}}}]").protocols[0].extractors == names


@pytest.mark.parametrize("spell", [str.upper, str.lower, str.title])
def test_camera_keys_may_be_in_either_case(read, spell) -> None:
    keys = {
        "fps": 25,
        "width": 320,
        "height": 240,
        "collection": "raw_x",
        "sync_label": "frame2ttl",
        "compressed": True,
    }
    text = yaml.safe_dump(
        {"sync": {"nidq": {}}, "devices": {"cameras": {"left": {spell(k): v for k, v in keys.items()}}}}
    )
    assert read(text).camera("left") == Camera("left", "raw_x", "frame2ttl", 25, 320, 240, True)


def test_collection_and_compressed_belong_to_each_camera(read) -> None:
    description = read(
        "devices: {cameras: {left: {collection: a, compressed: true}, "
        "body: {collection: b}, right: {compressed: false}}}"
    )
    assert {c.label: (c.collection, c.compressed) for c in description.cameras} == {
        "left": ("a", True),
        "body": ("b", False),
        "right": ("raw_video_data", False),
    }


@pytest.mark.parametrize(
    ("body", "label"),
    [("{sync_label: null}", None), ("{}", "audio"), ("null", "audio"), ("{sync_label: bpod}", "bpod")],
)
def test_null_sync_label_means_no_channel_and_silence_means_audio(read, body: str, label: str | None) -> None:
    assert read(f"devices: {{cameras: {{left: {body}}}}}").camera("left").sync_label == label


def test_what_the_description_says_beats_what_rigs_are_usually_set_to(read) -> None:
    camera = read("sync: {nidq: {}}\ndevices: {cameras: {left: {fps: 100}}}").camera("left")
    assert (camera.fps, camera.width, camera.height) == (100, 1280, 1024)


@pytest.mark.parametrize(("sync", "label"), [("nidq", "belly"), ("bpod", "right"), ("tdms", "body"), ("nidq", "ear")])
def test_camera_that_no_usual_rig_has_is_known_without_settings(read, sync: str, label: str) -> None:
    camera = read(f"sync: {{{sync}: {{}}}}\ndevices: {{cameras: {{{label}: {{}}}}}}").camera(label)
    assert (camera.fps, camera.width, camera.height) == (None, None, None)


def test_camera_that_is_not_described_is_refused_with_those_that_are(read) -> None:
    with pytest.raises(DescriptionError, match="'belly'") as caught:
        read(EPHYS).camera("belly")
    assert caught.value.got == "body, left, right"


@pytest.mark.parametrize(
    ("sync", "collection"),
    [("nidq", "raw_ephys_data"), ("bpod", "raw_behavior_data"), ("tdms", "raw_sync_data")],
)
def test_sync_without_a_collection_has_the_usual_one(read, sync: str, collection: str) -> None:
    assert read(f"sync: {{{sync}: }}").sync == Sync(sync, collection)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "devices:\ntasks:\nsync:\nprojects:\nprocedures:\n"])
def test_empty_description_describes_nothing(read, text: str) -> None:
    assert read(text) == ExperimentDescription()


@pytest.mark.parametrize("text", ["a: [1, 2", "a: b: c", "\tx: 1", b"\xff\xfe\x00broken"])
def test_invalid_yaml_is_refused_with_file_and_place(read, tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(DescriptionError, match="not valid YAML") as caught:
        read(text)
    assert caught.value.where == str(tmp_path / "_ibl_experiment.description.yaml")
    assert caught.value.got
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("devices: [left, right]", "devices"),
        ("devices: {cameras: [left, right]}", "cameras"),
        ("devices: {cameras: {left: raw_video_data}}", "cameras.left"),
        ("devices: {cameras: {left: {fps: fast}}}", "cameras.left.fps"),
        ("devices: {cameras: {right: {WIDTH: 12.5}}}", "cameras.right.width"),
        ("sync: nidq", "sync"),
        ("sync: {nidq: bin}", "sync.nidq"),
        ("tasks: choiceWorld", "tasks"),
        ("tasks: [{cw: {protocol_number: first}}]", "tasks.0.cw.protocol_number"),
        ("projects: {a: b}", "projects"),
    ],
)
def test_a_part_of_the_wrong_shape_is_named_and_left_out(read, text: str, part: str) -> None:
    found = read(text).problems
    assert [problem.part for problem in found] == [part]
    assert found[0].message


@pytest.mark.parametrize("text", ["- a\n- b", "just words", "3"])
def test_a_file_that_is_no_mapping_is_refused(read, text: str) -> None:
    with pytest.raises(DescriptionError, match="cannot be understood") as caught:
        read(text)
    assert caught.value.where.endswith("_ibl_experiment.description.yaml")
    assert caught.value.do


def test_a_device_that_makes_no_sense_does_not_stop_the_others(read) -> None:
    description = read(
        "devices: {cameras: {left: {fps: fast}, right: , body: [1]}}\n"
        "sync: {nidq: {collection: raw_ephys_data}}\n"
        "tasks: [cw: {protocol_number: first}, other: ]"
    )
    assert [camera.label for camera in description.cameras] == ["right"]
    assert [(p.name, p.number) for p in description.protocols] == [("other", 1)]
    assert description.sync == Sync("nidq", "raw_ephys_data")
    assert {p.part.rsplit(".", 1)[0] for p in description.problems} == {"cameras", "cameras.left", "tasks.0.cw"}


def test_of_several_main_clocks_the_first_is_taken_and_said(read) -> None:
    description = read("sync: {nidq: {}, bpod: {}}")
    assert description.sync is not None
    assert description.sync.kind == "nidq"
    assert "nidq, bpod" in str(description.problems[0])


@pytest.mark.parametrize(("text", "names"), [("", None), ("pose: dlc", ("dlc",)), ("pose: []", ())])
def test_a_description_may_ask_for_pose(read, text: str, names: tuple[str, ...] | None) -> None:
    assert read(text).pose == names
    assert read("pose: [dlc, sleap]").problems[0].part == "pose"


YAML_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text("abc:/ ", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["left", "cameras", "nidq", "fps", "FPS", "collection", "protocol_number", 1]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["version", "devices", "sync", "tasks", "procedures", "projects", "other"]), YAML_VALUE
    )
)
def test_any_yaml_is_read_or_refused_by_name(tmp_path_factory: pytest.TempPathFactory, content) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(content))
    with contextlib.suppress(DescriptionError):
        description = read_description(path)
        assert [c.label for c in description.cameras] == sorted(c.label for c in description.cameras)
