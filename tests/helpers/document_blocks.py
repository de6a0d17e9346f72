"""Blocks of code of the documents, and the command lines in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^( *)```([a-z]*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r"(?:^|[\s`/])ibl-dask(?= +[a-z-])")
_VALUE = re.compile(r"(?:SESSION|FILE|[A-Z_]{1,12})(?:\.\.\.)?")


@dataclass(frozen=True)
class Block:
    """A block of code."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all documents in some languages, all where none is named."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in _BLOCK.finditer(text):
            indent, language, content = block.groups()
            content = "".join(line.removeprefix(indent) for line in content.splitlines(keepends=True))
            if not languages or language in languages:
                found.append(Block(page.name, text.count("\n", 0, block.start()) + 1, language, content))
    return found


@dataclass(frozen=True)
class Synopsis:
    """A command with its arguments, as a document describes it or calls it."""

    where: str
    arguments: tuple[str, ...]
    """Everything after `ibl-dask` that is no option in brackets."""
    optional: tuple[tuple[str, ...], ...]
    """Options in brackets, each with its values."""
    mentioned: frozenset[str]
    """Names of options anywhere in the entry."""


def synopses(block: Block) -> Iterator[Synopsis]:
    """Yield the commands of a block: each line that calls the program, with the indented lines below."""
    entry: list[str] = []
    for line in [*block.text.splitlines(), "end"]:
        if entry and not line.startswith("    "):
            yield _synopsis(str(block), entry, is_shell=block.language == "bash")
            entry = []
        found = _CALL.search(line)
        if found is not None:
            entry = [line[found.end() :]]
        elif entry:
            entry.append(line)


def _synopsis(where: str, lines: list[str], *, is_shell: bool) -> Synopsis:
    """Read an entry. Two spaces separate a description, unless a placeholder, an option or a path follows."""
    is_shell = is_shell or re.search(r"\s#\s", lines[0]) is not None
    lines = [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", line) for line in lines]
    lines = [re.split(r"\s#|[;|&>]\s|\s2?>>?\s", line)[0] for line in lines]
    whole = " ".join(lines)
    optional = tuple(
        tuple(token for token in shlex.split(text) if token != "...") for text in re.findall(r"\[(--.+?)\]", whole)
    )
    call = []
    for piece in re.split(r"\s{2,}", lines[0].strip()):
        if call and not is_shell and not re.match(r"\[|--|/|[A-Z_]{2,}(?![a-z])|\w*/", piece):
            break
        call.append(piece)
    text = re.sub(r"\[--.+?\]", " ", " ".join(call))
    arguments = tuple(token.strip("[]") for token in shlex.split(text.replace("'", '"')))
    return Synopsis(where, arguments, optional, frozenset(re.findall(r"(?<![\w-])--[a-z][a-z-]*", whole)))


def calls_in_text(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the words after `ibl-dask` of each call within the text of a page, with its place."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    for found in re.finditer(r"(?<!`)`(?:[\w/.]*/)?ibl-dask ([^`]+)`", text):
        if not found[1].startswith("COMMAND"):
            yield f"{page.name}: {found[0]}", found[1].split()
