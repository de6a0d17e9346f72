"""Sessions that `ibl-dask run` fetches: where to, how much at a time, and their feed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibl_dask.errors import UsageError

if TYPE_CHECKING:
    from ibl_dask.alyx.fetch_feed import FetchFeed
    from ibl_dask.deploy.site.profile import Profile


@dataclass(frozen=True, slots=True)
class FetchWishes:
    """Wishes of the command line about fetched sessions."""

    to: Path | None = None
    """Folder of the labs."""
    most: str | None = None
    """Size of fetched files of sessions that have not ended, with its unit."""
    evicts: bool = False
    """Remove fetched files after success."""

    def folder(self, site: Profile) -> Path:
        """Return the folder: as given, else that of the variable, of the profile, else the first folder of subjects."""
        from ibl_dask.alyx.folders import FETCH_VARIABLE, subject_folders

        named = os.environ.get(FETCH_VARIABLE)
        found = self.to or (Path(named) if named else None) or site.fetch_to or subject_folders()[0]
        return found.expanduser().absolute()

    def most_bytes(self, site: Profile) -> int:
        """Return the most bytes of fetched sessions that have not ended.

        Raises
        ------
        UsageError
            If it is no size.
        """
        from ibl_dask.alyx.fetch_feed import MOST_BYTES
        from ibl_dask.deploy.site.value_parsers import parse_memory_gb

        if self.most is None:
            return MOST_BYTES if site.fetch_max_gb is None else int(site.fetch_max_gb * 1e9)
        try:
            return int(parse_memory_gb(self.most) * 1e9)
        except ValueError as error:
            raise UsageError(
                "this is no size", where="--fetch-max", expected="a number with its unit, such as 500 GB", got=self.most
            ) from error


def make_feed(
    local: Sequence[Path], eids: Sequence[str], wishes: FetchWishes, site: Profile, request: Mapping[str, Any]
) -> FetchFeed:
    """Return the feed of sessions that are here, and of others that are fetched.

    Parameters
    ----------
    local : sequence of Path
        Sessions that are here.
    eids : sequence of str
        Identifiers of those to fetch.
    wishes : FetchWishes
        Wishes of the command line.
    site : Profile
        The site.
    request : mapping
        Arguments of `make_pipeline`.
    """
    from ibl_dask.alyx.access import client_of
    from ibl_dask.alyx.data_login import read_data_login
    from ibl_dask.alyx.fetch_feed import FetchBounds, FetchFeed
    from ibl_dask.alyx.fetch_session import FetchPlace

    place = FetchPlace(wishes.folder(site), {**request, "skip_absent": True})
    bounds = FetchBounds(most_bytes=wishes.most_bytes(site), evicts=wishes.evicts, longest_pause_s=site.longest_pause_s)
    return FetchFeed(client_of(), local, eids, place, bounds, login=read_data_login())


def work_folder(wishes: FetchWishes, site: Profile) -> Path:
    """Return the work folder of a run whose sessions are all fetched."""
    from ibl_dask.store.work_folder import SCRATCH_VARIABLE, WORK_FOLDER

    scratch = os.environ.get(SCRATCH_VARIABLE)
    return Path(scratch).expanduser() if scratch else wishes.folder(site) / WORK_FOLDER
