"""`ibl-dask pose export` refuses what it cannot do before anything is written."""

import sys

import pytest

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
