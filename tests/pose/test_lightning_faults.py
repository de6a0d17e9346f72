"""Environments of Lightning Pose that do not work, each a stand-in for one that a user may have."""

from __future__ import annotations

import hashlib
import sys

import pytest

from ibl_dask.errors import MissingEnvironment, UsageError
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host.warm_engines import WarmEngines

PACKAGES = {
    "nothing": {},
    "old": {"lightning_pose": "__version__ = '2.2.0'"},
    "two builds": {
        "lightning_pose": "__version__ = '2.4.3'",
        "torch": "",
        "torchvision": "raise RuntimeError('operator torchvision::nms does not exist')",
    },
    "without torch": {"lightning_pose": "__version__ = '2.4.10'", "torch": "raise ImportError(name='torch')"},
}


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens an engine in an environment with some packages."""
    engines = WarmEngines(folders=[tmp_path], weights_folder=tmp_path / "node")

    def open_in(packages, **options):
        for name, text in PACKAGES[packages].items():
            (tmp_path / "site" / name).mkdir(parents=True)
            (tmp_path / "site" / name / "__init__.py").write_text(text)
        weights = tmp_path / "net.zip"
        weights.write_bytes(b"any")
        digest = hashlib.sha256(b"any").hexdigest()
        python = f"env PYTHONPATH={tmp_path / 'site'} {sys.executable}"
        with engines.open(EngineSettings("eye", "lightning_pose", python, weights, digest, options=options)):
            pass

    yield open_in
    engines.release()


@pytest.mark.parametrize(
    ("packages", "what", "got"),
    [
        ("nothing", "lacks lightning_pose", "No module named"),
        ("old", "this version of Lightning Pose is too old", "2.2.0"),
        ("two builds", "PyTorch does not work", "torchvision::nms"),
        ("without torch", "lacks torch", "ImportError"),
    ],
)
def test_an_environment_that_does_not_work_is_named_with_the_reason(opened, packages, what, got):
    with pytest.raises(MissingEnvironment, match=what) as caught:
        opened(packages)
    assert got in caught.value.got
    assert "install" in caught.value.do


def test_unknown_options_are_refused(opened):
    with pytest.raises(UsageError, match="there is no option sharpness"):
        opened("nothing", sharpness="fp16")
