"""Files that a fetch meets in the folder of a session stay the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibl_dask.alyx.fetched import FetchRecord
from ibl_dask.alyx.remote_files import RemoteFile

EID = "11111111-2222-3333-4444-555555555555"


def test_a_file_that_the_user_copied_there_while_one_of_its_name_came_is_kept(tmp_path: Path) -> None:
    session = tmp_path / "lab" / "Subjects" / "SW_001" / "2026-11-20" / "001"
    record = FetchRecord.begin(session, EID)
    file = RemoteFile(EID, "raw_video_data/x.bin", 6, "", ())
    part, target = record.part_of(file), session / file.path
    for path, content in ((part, b"server"), (target, b"the user's own")):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    record.accept(file, part)
    assert target.read_bytes() == b"the user's own"
    assert not part.exists()
    assert record.evict() == 0
    assert target.exists()


@pytest.mark.parametrize("moment", ["write", "replace"])
def test_a_fetch_that_is_killed_while_a_file_gets_its_name_brings_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    session = tmp_path / "lab" / "Subjects" / "SW_001" / "2026-11-20" / "001"
    record = FetchRecord.begin(session, EID)
    versions = [RemoteFile(EID, "raw_video_data/x.bin", 6, text * 32) for text in "01"]
    for version in versions:
        part = record.part_of(version)
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(f"{version.md5}".encode()[:6])
        with monkeypatch.context() as patch:
            if version is versions[0]:
                record.accept(version, part)
                continue
            patch.setattr(*((FetchRecord, "write") if moment == "write" else (Path, "replace")), killed)
            with pytest.raises(Killed):
                record.accept(version, part)
    left = FetchRecord.read(session)
    assert left is not None
    assert not left.has(versions[1])
    left.accept(versions[1], part)
    assert (session / versions[1].path).read_bytes() == b"111111"
    assert left.has(versions[1])
