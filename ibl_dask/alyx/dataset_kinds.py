"""Dataset types and data formats of Alyx, which decide whether a file can be registered."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.packages import require_packages


@dataclass(frozen=True, slots=True)
class Kinds:
    """Dataset types and file extensions that Alyx has."""

    types: tuple[tuple[str, str], ...]
    """(name, pattern of file names); where the pattern is empty, the name is that of object and attribute."""
    extensions: frozenset[str]
    """Extensions with their dot."""

    @classmethod
    def fetch(cls, alyx: Alyx) -> Kinds:
        """Fetch both lists, once per run."""
        types = tuple((str(row["name"]), str(row.get("filename_pattern") or "")) for row in alyx.rows("dataset-types"))
        extensions = frozenset(str(row.get("file_extension") or "") for row in alyx.rows("data-formats"))
        return cls(types, extensions)

    def fault(self, path: str) -> str | None:
        """Return the reason for which Alyx would not register a file; None if it would.

        Names are matched as `one.registration.get_dataset_type` does. That is only asked where the answer is not plain:
        it imports pandas.
        """
        name = path.rpartition("/")[2]
        kind = "." + name.rpartition(".")[2]
        if kind not in self.extensions:
            return f"Alyx has no data format of the extension {kind}"
        plain = name.casefold()
        n_hits = sum(fnmatch(plain, pattern.casefold()) for _, pattern in self.types if pattern.strip())
        if n_hits == 1 and not any(one in name for one, pattern in self.types if not pattern.strip()):
            return None
        require_packages("one")
        from one.registration import get_dataset_type

        try:
            get_dataset_type(name, [{"name": n, "filename_pattern": p} for n, p in self.types])
        except ValueError as error:
            return " ".join(str(error).split())
        return None
