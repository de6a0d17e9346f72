"""What is expected of a camera, and which checks a session is asked at all."""

from __future__ import annotations

import pytest

from ibl_dask.model.description import Camera, ExperimentDescription, Protocol, Sync
from ibl_dask.model.outcome import Outcome
from ibl_dask.qc.checks import run_checks
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.tasks.video_sync.camera_qc import not_asked

EXPECTED = [
    ("nidq", "left", (60, 1280, 1024)),
    ("nidq", "right", (150, 640, 512)),
    ("nidq", "body", (30, 640, 512)),
    ("nidq", "belly", (None, None, None)),
    ("bpod", "left", (30, 1280, 1024)),
    ("bpod", "right", (None, None, None)),
    ("bpod", "body", (None, None, None)),
    ("bpod", "belly", (None, None, None)),
    ("tdms", "left", (30, 1280, 1024)),
    (None, "left", (30, 1280, 1024)),
    (None, "snout", (None, None, None)),
]


@pytest.mark.parametrize(("sync", "label", "expected"), EXPECTED)
def test_each_rig_expects_what_it_was_set_to(sync: str | None, label: str, expected: tuple[float | None, ...]) -> None:
    description = ExperimentDescription(cameras=(Camera(label),), sync=None if sync is None else Sync(sync))
    camera = description.camera(label)
    assert (camera.fps, camera.width, camera.height) == expected


@pytest.mark.parametrize("sync", ["nidq", "bpod"])
def test_description_comes_before_the_table_key_by_key(sync: str) -> None:
    described = Camera("left", fps=25, height=500)
    camera = ExperimentDescription(cameras=(described,), sync=Sync(sync)).camera("left")
    assert (camera.fps, camera.width, camera.height) == (25, 1280, 500)


@pytest.mark.parametrize(("sync", "label", "expected"), EXPECTED)
def test_camera_that_no_table_knows_is_judged_without_an_error(
    sync: str | None, label: str, expected: tuple[float | None, ...]
) -> None:
    """The reference ends with a KeyError for belly, for right and body of a training rig, and for unknown labels."""
    description = ExperimentDescription(cameras=(Camera(label),), sync=None if sync is None else Sync(sync))
    results = {r.name: r for r in run_checks(CameraEvidence(description.camera(label), 100, 640, 512, 30.0))}
    for name in ("file_headers", "resolution"):
        assert (results[name].outcome == Outcome.NOT_SET) == (expected[0] is None)
        assert results[name].outcome != Outcome.NOT_SET or "not known" in results[name].message
    assert Outcome.CRITICAL not in [r.outcome for name, r in results.items() if name != "timestamps"]


@pytest.mark.parametrize(
    ("protocols", "is_logged", "left_out"),
    [
        ((), False, set()),
        (("ephysChoiceWorld",), False, set()),
        (("_iblrig_tasks_habituationChoiceWorld",), False, {"wheel_alignment"}),
        (("HabituationChoiceWorld", "habituation2"), False, {"wheel_alignment"}),
        (("habituationChoiceWorld", "ephysChoiceWorld"), False, set()),
        (("ephysChoiceWorld",), True, {"pin_state"}),
        (("habituationChoiceWorld",), True, {"wheel_alignment", "pin_state"}),
    ],
)
def test_habituation_has_no_wheel_and_a_logged_camera_no_pins(
    protocols: tuple[str, ...], is_logged: bool, left_out: set[str]
) -> None:
    description = ExperimentDescription(protocols=tuple(Protocol(name) for name in protocols))
    assert not_asked(description, is_logged) == left_out
