"""Expected datasets and signatures beside those of the reference."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

import ibl_dask as ibd
from ibl_dask.model.signature import Combined, Dataset, ExpectedDataset, read_signature
from ibl_dask.store.dataset_lookup import find_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reference import Reference

pytestmark = pytest.mark.peer

NAMES = ("_ibl_trials.table.pqt", "_ibl_wheel.position.npy", "times.npy", "_iblrig_leftCamera.timestamps.ssv")
PATTERNS = (*NAMES, "*trials.table.*", "*wheel.*.npy", "*.npy", "_iblrig_*Camera.timestamps*", "t?mes.[mn]py")
FOLDERS = ("alf", "alf/task_00", "raw_video_data", "raw_task_data_00")
COLLECTIONS = (*FOLDERS, "alf/task_*", "raw_*", "raw_task_data_0?")
REVISIONS = ("#2023-01-01#", "#2024-02-02#")
N_TREES, N_EXPRESSIONS = 25, 36


def build(node: list[Any]) -> ExpectedDataset:
    if node[0] == "not":
        inner = build(node[1])
        assert isinstance(inner, (Dataset, Combined))
        return ~inner
    if node[0] in ("and", "or", "xor"):
        left, right = map(build, node[1:])
        return {"and": left & right, "or": left | right, "xor": left ^ right}[node[0]]
    return getattr(ExpectedDataset, node[0])(*node[1:])


def leaf(rng: random.Random, role: str) -> list[Any]:
    revision = rng.choice(REVISIONS) if rng.random() < 0.2 else None
    required, register = rng.random() < 0.7, rng.random() < 0.5
    dataset = [role, rng.choice(PATTERNS), rng.choice(COLLECTIONS), required, register, revision]
    return ["not", dataset] if rng.random() < 0.2 else dataset


def expression(rng: random.Random, role: str, depth: int) -> list[Any]:
    if depth == 0 or rng.random() < 0.25:
        return leaf(rng, role)
    return [rng.choice(("and", "or", "xor")), expression(rng, role, depth - 1), expression(rng, role, depth - 1)]


def grow(rng: random.Random, root: Path) -> None:
    """Make some files; none of them in a copy of the session's folders, nor with a dataset UUID."""
    root.mkdir()
    for folder in FOLDERS:
        for name in NAMES:
            for place in (folder, *(f"{folder}/{revision}" for revision in REVISIONS)):
                if rng.random() < (0.4 if place == folder else 0.15):
                    path = root / place / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"x" * rng.randrange(2))


def answers(root: Path, node: list[Any]) -> Iterator[list[Any]]:
    for register in (False, True):
        found = find_files([root], build(node), to_register=register)
        yield [found.ok, [path.relative_to(root).as_posix() for path in found.files], sorted(found.missing)]


def test_random_expressions_on_random_trees_are_met_alike(reference: Reference, tmp_path: Path) -> None:
    rng = random.Random(20)
    cases = []
    for number in range(N_TREES):
        grow(rng, tmp_path / str(number))
        cases += [
            (tmp_path / str(number), expression(rng, rng.choice(("input", "output")), rng.randrange(4)))
            for _ in range(N_EXPRESSIONS)
        ]
    there = reference.ask("find_datasets", cases=[(str(root), node) for root, node in cases])["found"]
    n_met = n_refused = 0
    for (root, node), theirs in zip(cases, there, strict=True):
        ours = list(answers(root, node))
        if isinstance(theirs, str):
            # It cannot combine an optional dataset with a required one behind it.
            assert "OptionalInput and Input" in theirs or "OptionalOutput and Output" in theirs
            assert has_optional_before_required(build(node)), str(build(node))
            n_refused += 1
            continue
        assert not has_optional_before_required(build(node)), str(build(node))
        # Of a file that both sides of an `and` name, the reference lists two.
        assert ours == [[ok, sorted(set(files)), missing] for ok, files, missing in theirs], (str(build(node)), theirs)
        n_met += ours[0][0]
    n_compared = len(cases) - n_refused
    assert n_compared > 400
    assert 0.2 * n_compared < n_met < 0.95 * n_compared


def has_optional_before_required(expected: ExpectedDataset) -> bool:
    if not isinstance(expected, Combined):
        return False
    parts = (expected.left, expected.right)
    is_refused = not expected.left.is_required and expected.right.is_required
    return is_refused or any(map(has_optional_before_required, parts))


def test_a_copy_of_the_folders_inside_one_counts_in_the_reference(reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / "backup" / "alf" / "times.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    node = ["input", "times.npy", "alf", True, False, None]
    ((theirs, _),) = reference.ask("find_datasets", cases=[(str(tmp_path), node)])["found"]
    assert theirs == [True, ["backup/alf/times.npy"], []]
    assert next(answers(tmp_path, node)) == [False, [], ["alf/times.npy"]]


@pytest.mark.parametrize("operator", ["and", "or", "xor"])
def test_that_a_compound_must_not_be_met_is_ignored_in_the_reference(
    reference: Reference, tmp_path: Path, operator: str
) -> None:
    for name in NAMES[:2]:
        (tmp_path / "alf").mkdir(exist_ok=True)
        (tmp_path / "alf" / name).write_bytes(b"x")
    plain = [operator, *(["input", name, "alf", True, False, None] for name in NAMES[:2])]
    found = reference.ask("find_datasets", cases=[(str(tmp_path), node) for node in (plain, ["not", plain])])["found"]
    assert found[0] == found[1]
    assert next(answers(tmp_path, ["not", plain]))[0] is not next(answers(tmp_path, plain))[0]


def test_a_dataset_uuid_in_a_name_hides_the_file_from_the_reference(reference: Reference, tmp_path: Path) -> None:
    name = "times.01234567-89ab-cdef-0123-456789abcdef.npy"
    (tmp_path / "alf").mkdir()
    (tmp_path / "alf" / name).write_bytes(b"x")
    node = ["input", "times.npy", "alf", True, False, None]
    ((theirs, _),) = reference.ask("find_datasets", cases=[(str(tmp_path), node)])["found"]
    assert theirs == [False, [], ["alf/times.npy"]]
    assert next(answers(tmp_path, node)) == [True, [f"alf/{name}"], []]


SYNC = {"sync": "nidq", "sync_collection": "raw_ephys_data", "sync_ext": "bin", "sync_namespace": "spikeglx"}
BPOD = {"sync": "bpod", "sync_collection": "raw_behavior_data", "collection": "raw_behavior_data"}
CAMERA_FILES = ("timestamps*", "GPIO.bin", "frame_counter.bin", "frameData.bin")
LOG = ("_iblrig_leftCamera.raw.camlog", "raw_video_data")


def own(name: str, part: str = "raw_video_data") -> tuple[str, str]:
    return (name, part)


FRONTS = {own(f"_spikeglx_sync.{part}.npy", "raw_ephys_data") for part in ("times", "channels", "polarities")}
RECORDING = {own("*.nidq.*bin", "raw_ephys_data")}
TASKS: dict[str, tuple[dict[str, Any], dict[str, set[tuple[str, str]]]]] = {
    "VideoRegisterRaw": (
        {},
        {
            "only ours": {own(f"_iblrig_leftCamera.raw.{kind}") for kind in ("avi", "mp4", "camlog")}
            | {own("left_cam*.camlog"), own("_iblrig_videoCodeFiles.raw*.*")},
            "only theirs": {own("_iblrig_videoCodeFiles.raw*")},
            "required here": {own(f"_iblrig_leftCamera.{kind}") for kind in ("frameData.bin", "timestamps*")},
        },
    ),
    "VideoCompress": ({**SYNC}, {}),
    "VideoConvert": (
        {},
        {"required there": {own("left_cam*.avi"), own("_iblrig_leftCamera.raw.camlog")}},
    ),
    "VideoSyncQcNidq": (
        SYNC,
        {
            "only ours": {
                LOG,
                *RECORDING,
                own("*.wiring.json", "raw_ephys_data"),
                own("*.nidq.meta", "raw_ephys_data"),
            },
            "only theirs": {own(f"_spikeglx_*.{part}", "raw_ephys_data") for part in ("wiring.json", "meta")},
        },
    ),
    "VideoSyncQcCamlog": (
        SYNC,
        {
            "only ours": {own(f"_iblrig_leftCamera.{kind}") for kind in CAMERA_FILES}
            | RECORDING
            | {own("*.nidq.meta", "raw_ephys_data"), own("*experiment.description*", "")},
            "required there": {own("*.wiring.json", "raw_ephys_data")},
        },
    ),
    "VideoSyncQcBpod": (
        BPOD,
        {
            "only ours": {
                LOG,
                own("*experiment.description*", ""),
                own("_iblrig_taskData.raw.jsonable", "raw_behavior_data"),
            },
            "only theirs": {own(f"_iblrig_task{part}.raw.*", "raw_behavior_data") for part in ("Data", "Settings")},
        },
    ),
}
"""Arguments of each video task, and the files that only one of the two signatures names, or requires."""


@pytest.mark.parametrize("name", TASKS)
def test_every_file_of_a_signature_is_in_that_of_the_reference(
    reference: Reference, session_folder: Path, name: str
) -> None:
    arguments, differences = TASKS[name]
    common = {"cameras": ["left"], "device_collection": "raw_video_data", **arguments}
    theirs = reference.ask("task_signature", name=name, session=str(session_folder), arguments=common)
    ours = read_signature(getattr(ibd, name)(session_folder, **common).signature)
    mine: dict[tuple[str, str], bool] = {}
    for expected in (*ours.inputs, *ours.outputs):
        for each in expected.leaves:
            mine[each.name, each.collection] = mine.get((each.name, each.collection), False) or each.required
    there: dict[tuple[str, str], bool] = {}
    for part in ("input_files", "output_files"):
        for file, collection, required in theirs[part]:
            there[file, collection] = there.get((file, collection), False) or required
    assert mine.keys() - there.keys() == differences.get("only ours", set())
    assert there.keys() - mine.keys() == differences.get("only theirs", set())
    both = mine.keys() & there.keys()
    assert {key for key in both if mine[key] and not there[key]} == differences.get("required here", set())
    assert {key for key in both if there[key] and not mine[key]} == differences.get("required there", set())


def test_one_clock_of_all_cameras_is_enough_for_the_reference_and_each_needs_its_own_here(
    session_folder: Path,
) -> None:
    task = ibd.VideoRegisterRaw(session_folder, cameras=["left", "right"])
    assert task.assert_expected_outputs()[0]
    (session_folder / "raw_video_data" / "_iblrig_rightCamera.frameData.bin").unlink()
    assert not task.assert_expected_outputs(raise_error=False)[0]
    (session_folder / "raw_video_data" / "_iblrig_rightCamera.timestamps.ssv").write_text("x")
    assert task.assert_expected_outputs()[0]
