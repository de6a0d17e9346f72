"""Files that a fetch meets in the folder of a session stay the user's."""

from __future__ import annotations

from pathlib import Path

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
