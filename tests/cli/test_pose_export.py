"""`ibl-dask pose export` and `compare` refuse what they cannot do before anything is written."""

import json
import sys

import pytest
from disc_sessions import write_discs

from ibl_dask.cli import app

PROFILE = "engines:\n  discs: {kind: synthetic}\n"


@pytest.mark.parametrize(
    ("engine", "video", "words"),
    [
        ("disks", "video.mp4", ["no engine disks", "expected: an entry of `engines:`: discs", "write discs"]),
        ("discs", "video.mp4", ["video.mp4", "what to do"]),
        ("discs", "garbage.mp4", ["garbage.mp4", "what to do"]),
    ],
)
def test_what_cannot_be_exported_is_named(capsys, monkeypatch, tmp_path, engine, video, words):
    profile = tmp_path / "site.yaml"
    profile.write_text(PROFILE)
    (tmp_path / "garbage.mp4").write_bytes(b"no video" * 100)
    before = sorted(tmp_path.iterdir())
    called = ["pose", "export", engine, tmp_path / video, tmp_path / "net.onnx", "--profile", profile]
    monkeypatch.setattr(sys, "argv", ["ibl-dask", *map(str, called)])
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as ended:
        app.main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    for word in words:
        assert word in said.err
    assert sorted(tmp_path.iterdir()) == before


PAIRS = """engines:
  discs: {kind: synthetic, keypoints: [nose, paw]}
  same: {kind: synthetic, keypoints: [nose, paw]}
  mean: {kind: synthetic, keypoints: [nose, paw], options: {halo: 2}}
  one: {kind: synthetic, keypoints: [nose]}
"""


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Return a folder with a profile, and a video in which two discs move."""
    folder = tmp_path_factory.mktemp("discs")
    write_discs(folder / "SW_001" / "2023-05-01" / "001", cameras=("left",))
    (folder / "site.yaml").write_text(PAIRS)
    (video,) = folder.rglob("*leftCamera*.mp4")
    return folder, video


def compared(discs, monkeypatch, capsys, *names):
    folder, video = discs
    called = ["pose", "compare", *names, video, "--profile", folder / "site.yaml", "--frames", "16", "--json"]
    monkeypatch.setattr(sys, "argv", ["ibl-dask", *map(str, called)])
    with pytest.raises(SystemExit) as ended:
        app.main()
    return ended.value.code, capsys.readouterr()


def test_the_deviation_of_an_engine_from_another_is_measured_on_a_video(discs, monkeypatch, capsys):
    code, said = compared(discs, monkeypatch, capsys, "discs", "same")
    found = json.loads(said.out)
    assert code == 0
    assert found["n_likely"] == 32
    assert (found["largest_px"], found["largest_px_of_all"], found["largest_likelihood"]) == (0, 0, 0)
    _, said = compared(discs, monkeypatch, capsys, "discs", "mean")
    assert json.loads(said.out)["largest_px"] > 0.01


def test_engines_of_different_keypoints_are_not_compared(discs, monkeypatch, capsys):
    code, said = compared(discs, monkeypatch, capsys, "discs", "one")
    assert code == 2
    assert "different keypoints" in said.err
    assert not said.out
