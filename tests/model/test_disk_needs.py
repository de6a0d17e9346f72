"""Space that a run needs is added up by disk, and compared with the smaller of free space and quota."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.model.disk_needs import DiskSpace, Need, demands

SPACES = st.builds(DiskSpace, st.just(0), st.integers(0, 1000), st.one_of(st.none(), st.integers(-50, 1000)))
NEEDS = st.lists(
    st.tuples(st.sampled_from(["results", "scratch", "journal"]), st.integers(0, 5), st.integers(0, 400)), max_size=12
)


@given(disks=st.lists(SPACES, min_size=3, max_size=3), needs=NEEDS)
def test_each_disk_is_short_if_what_is_written_to_its_folders_exceeds_free_space_or_quota(
    disks: list[DiskSpace], needs: list[tuple[str, int, int]]
) -> None:
    # Folders 0 and 1 are on disk 0, 2 and 3 on disk 1, 4 on disk 2; that of 5 is unknown.
    def disk_of(folder: int) -> int:
        return folder // 2

    spaces = {
        Path(str(folder)): DiskSpace(
            disk_of(folder), disks[disk_of(folder)].free_bytes, disks[disk_of(folder)].quota_bytes
        )
        for folder in range(5)
    }
    found = demands([Need(place, Path(str(folder)), n) for place, folder, n in needs], spaces)  # type: ignore[arg-type]
    for number, disk in enumerate(disks):
        wanted = sum(n for _, folder, n in needs if folder < 5 and disk_of(folder) == number)
        (demand,) = [each for each in found if each.space.device == number] or [None]
        if demand is None:
            assert wanted == 0
            continue
        assert demand.n_bytes == wanted
        quota = disk.free_bytes if disk.quota_bytes is None else disk.quota_bytes
        assert demand.is_short == (wanted > disk.free_bytes or wanted > quota)
        assert demand.space.limit == ("quota" if quota < disk.free_bytes else "free")
        assert disk_of(int(str(demand.folder))) == number
    rooms = [demand.space.available_bytes - demand.n_bytes for demand in found]
    assert rooms == sorted(rooms), "the disk with the least room comes first"
