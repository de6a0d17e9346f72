"""Energy that the processors of this machine take, from the counters that Linux gives (`powercap`)."""

from __future__ import annotations

import contextlib
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Sum of the counters of all processor packages since the meter was made.

    The whole package counts, so work of other programs is in it. A counter begins anew at its largest value, which
    takes a server about half an hour: `read_j` is to be called more often than that.

    Parameters
    ----------
    powercap : Path
        Folder of the counters. Many systems let root alone read them: then there is no energy.

    References
    ----------
    Linux kernel, Documentation/power/powercap: `energy_uj` and `max_energy_range_uj`, microjoules.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._j = 0.0
        self._ranges: dict[Path, int] = {}
        self._last: dict[Path, int] = {}
        # Zones with one number are packages or the platform around them; the parts of a package have two.
        for zone in sorted(powercap.glob("*:*")):
            with contextlib.suppress(OSError, ValueError):
                if (zone / "name").read_text().startswith("package-"):
                    self._last[zone] = int((zone / "energy_uj").read_text())
                    self._ranges[zone] = int((zone / "max_energy_range_uj").read_text())

    def read_j(self) -> float | None:
        """Return the energy since the meter was made, J; None where no counter can be read."""
        for zone, range_uj in self._ranges.items():
            with contextlib.suppress(OSError, ValueError):
                now = int((zone / "energy_uj").read_text())
                self._j += (now - self._last[zone]) % range_uj / 1e6
                self._last[zone] = now
        return self._j if self._ranges else None
