"""Engines of a camera: what they declare is the same on every worker, and they fit together."""

from dataclasses import replace

import pytest
from disc_sessions import Levels, toy

from ibl_dask.errors import MissingEnvironment, UsageError, WrongKeypoints
from ibl_dask.model.step import Upstream
from ibl_dask.pose.networks import Network, NetworkSet
from ibl_dask.tasks.pose.engine_steps import EnginesOpened, OpenEngines, require_declared
from ibl_dask.tasks.pose.members import CameraNetworks


def opening(*networks, engines):
    declared = NetworkSet("dlc", networks, device="cpu")
    known = {engine.name: engine for engine in engines}
    return OpenEngines(session="s", camera="left", networks=CameraNetworks("left", declared, known))


def test_declarations_pass_through_a_journal_unchanged():
    found = opening(Network("whole", ("toy",)), engines=(toy(halo=2),)).run(Upstream())
    read = EnginesOpened.from_json(found.to_json())
    assert read.info("toy") == found.info("toy")
    assert (read.info("toy").keypoints, read.info("toy").halo) == (("nose_tip", "pupil_top_r"), 2)


def test_a_worker_with_another_build_takes_no_part():
    engine = Levels(2)
    known = EnginesOpened.from_json(EnginesOpened(engines={}).to_json())
    from ibl_dask.tasks.pose.engine_steps import _write_info

    known = replace(known, engines={"a": _write_info(engine.info)})
    require_declared({"a": engine}, known)
    engine.info = replace(engine.info, build="onnxruntime 2 cuda")
    with pytest.raises(MissingEnvironment, match=r"engine a.*onnxruntime 2 cuda"):
        require_declared({"a": engine}, known)


def test_members_of_an_ensemble_must_have_the_same_keypoints():
    step = opening(Network("eye", ("one", "two")), engines=(toy("one", ("a",)), toy("two", ("b",))))
    with pytest.raises(WrongKeypoints, match="eye"):
        step.run(Upstream())


def test_two_networks_must_not_have_one_keypoint():
    step = opening(
        Network("eye", ("one",)), Network("nose", ("two",)), engines=(toy("one", ("a",)), toy("two", ("a",)))
    )
    with pytest.raises(UsageError, match="keypoint a"):
        step.run(Upstream())


def test_the_fingerprint_of_a_network_follows_from_what_its_values_depend_on():
    """The name of an engine and the place of its Python do not count; options, windows and weights do."""
    plain = CameraNetworks("left", NetworkSet("dlc", (Network("whole", ("toy",)),)), {"toy": toy()})
    (member,) = plain.members

    def fingerprint(network=Network("whole", ("toy",)), **changed):  # noqa: B008  # a value
        engines = {"toy": replace(toy(), **changed)}
        return CameraNetworks("left", NetworkSet("dlc", (network,)), engines).members[0].fingerprint

    assert fingerprint() == fingerprint(python="/elsewhere/bin/python") == member.fingerprint
    others = {
        fingerprint(options={"halo": 1}),
        fingerprint(sha256="0" * 64),
        fingerprint(Network("whole", ("toy",), gain=2.0)),
    }
    assert len(others | {member.fingerprint}) == 4
    assert member.built("one") != member.built("two")
