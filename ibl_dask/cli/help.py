"""Help of the program: commands in groups, each with its whole first sentence, and examples below."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from typer.core import TyperGroup

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Run sessions": ("demo", "plan", "run", "status"),
        "Look at results": ("qc", "report", "view", "clip", "logs", "why", "verdict", "export"),
        "Set up a site": ("doctor", "jobscript", "pose"),
        "Free disks": ("clean", "purge-rig-data"),
        "Work with a database": ("alyx",),
    }
)
"""Heading -> commands below it, in this order."""


class GroupedCommands(TyperGroup):
    """Commands under the headings of `GROUPS`; others come last."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # of click, or of typer's copy of it
        """Write the commands with their first sentences, which are wrapped and not cut."""
        named = {name for names in GROUPS.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in named)
        for heading, names in {**GROUPS, "Others": others}.items():
            found = ((name, self.get_command(ctx, name)) for name in names)
            rows = [(name, _first_sentence(command.help)) for name, command in found if command is not None]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def _first_sentence(text: str | None) -> str:
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return paragraph.split(". ")[0].rstrip(".")


def examples(*lines: str) -> str:
    """Return the end of a help text: examples, one a line.

    >>> print(examples("ibl-dask demo").replace(chr(8), ""))
    <BLANKLINE>
    Examples:
      ibl-dask demo
    """
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
