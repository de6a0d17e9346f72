"""YAML reader that records the line of every key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ibl_dask.errors import MissingFile, UsageError

AS_WRITTEN = frozenset({"batch_time_out", "longest_pause", "memory", "sha256", "start_time_out", "umask", "walltime"})
OF_WRITTEN = frozenset({"time_outs"})
"""Keys whose value stays text, and keys of mappings whose values do. YAML would take 10:00:00 for the number 36,000,
08:00:00 for text, 027 for 23, and some hashes for numbers."""

MOST_BYTES = 1_000_000
"""Maximum size of a profile; typical ones have 5,000."""
MOST_LEVELS = 20
"""Maximum depth of nesting; a profile has 4 levels."""
MOST_VALUES = 20_000
"""Maximum number of keys and values with all aliases expanded."""
_MERGE = "tag:yaml.org,2002:merge"
_DO = "compare with the files in cluster/"


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Read a YAML mapping, and the line of each key.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    content : dict
        Content of the file; empty for an empty file.
    lines : dict
        Line of each key and of each entry of a list, 1-based, by dotted path: `pools.gpu.memory`, `pools.gpu.setup.0`.

    Raises
    ------
    MissingFile, UsageError
        If the file does not exist, is not YAML, or repeats a key.
    """
    text = _text(path)
    try:
        _require_few_levels(text, path)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UsageError(
            "this profile is not YAML",
            where=str(path) if mark is None else f"{path}, line {mark.line + 1}",
            expected="lines `key: value`, indented with blanks",
            got=getattr(error, "problem", None) or str(error),
            do=_DO,
        ) from error
    lines: dict[str, int] = {}
    if root is None:
        return {}, lines
    content = _Values(path, lines).of(root, ())
    if not isinstance(content, dict):
        raise UsageError(
            "this profile has no keys",
            where=f"{path}, line 1",
            expected="lines `key: value`",
            got=f"a {type(content).__name__}",
            do=_DO,
        )
    return content, lines


def _text(path: Path) -> str:
    """Return the text of a profile; see `read_yaml` for errors."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(
                "this is no profile",
                where=str(path),
                expected=f"a YAML file of at most {MOST_BYTES:,} bytes",
                got=f"{path.stat().st_size:,} bytes",
                do=_DO,
            )
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFile(
            "this profile does not exist",
            where=str(path),
            expected="a YAML file",
            got="nothing",
            do="give one of the files in cluster/, or your own",
        ) from error
    except OSError as error:
        raise UsageError(
            "this profile cannot be read",
            where=str(path),
            expected="a YAML file",
            got="a folder" if path.is_dir() else error.strerror or str(error),
            do="give one of the files in cluster/, or your own",
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            "this profile is not text",
            where=f"{path}, line {line}",
            expected="a YAML file in UTF-8",
            got=f"the byte 0x{content[error.start]:02x}",
            do="save it as UTF-8",
        ) from error


def _require_few_levels(text: str, path: Path) -> None:
    """Raise `UsageError` for nesting so deep that a recursive reader would fail."""
    level = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > MOST_LEVELS:
            raise UsageError(
                "this profile is nested too deeply",
                where=f"{path}, line {_line(event)}",
                expected=f"at most {MOST_LEVELS} levels of lists and keys",
                got="more",
                do=_DO,
            )


class _Values:
    """Converts the nodes of one file to values, and records the line of each key."""

    def __init__(self, path: Path, lines: dict[str, int]) -> None:
        self._path = path
        self._lines = lines
        self._n = 0
        self._around: list[yaml.Node] = []

    def of(self, node: yaml.Node, at: tuple[str, ...]) -> Any:  # any type of YAML
        """Return the value of a node, and record the lines of all keys and entries in it."""
        with self._within(node):
            if isinstance(node, yaml.SequenceNode):
                for number, entry in enumerate(node.value):
                    self._lines[".".join((*at, str(number)))] = _line(entry)
                return [self.of(entry, (*at, str(number))) for number, entry in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode):
                self._require_unique_keys(node, at)
                content = {}
                for key, value in self._items(node):
                    self._lines[".".join((*at, key.value))] = _line(key)
                    content[str(key.value)] = self.of(value, (*at, key.value))
                return content
            is_text = at and (at[-1] in AS_WRITTEN or (len(at) > 1 and at[-2] in OF_WRITTEN))
            if is_text and node.tag != "tag:yaml.org,2002:null":
                return str(node.value)
            try:
                return yaml.SafeLoader("").construct_object(node)
            except (yaml.YAMLError, ValueError, OverflowError) as error:
                why = getattr(error, "problem", None) or str(error)
                raise self._wrong(
                    f"{'.'.join(at)} makes no sense", node, "a value", f"{node.value[:60]} ({why[:120]})", _DO
                ) from error

    @contextlib.contextmanager
    def _within(self, node: yaml.Node) -> Iterator[None]:
        """Raise `UsageError` for a value that contains itself, and for aliases that expand to too many values."""
        self._n += 1
        if any(node is other for other in self._around):
            raise self._wrong(
                "this value holds itself", node, "aliases of other values", "an alias of what is around it", _DO
            )
        if self._n > MOST_VALUES:
            outermost = self._around[min(1, len(self._around) - 1)]
            raise self._wrong(
                "aliases make this profile too large", outermost, f"at most {MOST_VALUES:,} values", "more", _DO
            )
        self._around.append(node)
        try:
            yield
        finally:
            self._around.pop()

    def _items(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Yield the entries that a mapping merges from others (`<<: *other`), then its own, which take precedence."""
        for key, value in node.value:
            if key.tag == _MERGE:
                for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    with self._within(other):
                        yield from self._items(other) if isinstance(other, yaml.MappingNode) else ()
        for key, value in node.value:
            if key.tag != _MERGE:
                self._require_word(key)
                yield key, value

    def _require_unique_keys(self, node: yaml.MappingNode, at: tuple[str, ...]) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            self._require_word(key)
            if key.value in seen:
                kind = "two pools have one name" if at == ("pools",) else "a key is there twice"
                raise self._wrong(
                    f"{kind}: {key.value}",
                    key,
                    f"{'.'.join((*at, key.value))} once",
                    f"it is on line {seen[key.value]} already",
                    "give one of the pools another name" if at == ("pools",) else "remove one of the two",
                )
            seen[key.value] = _line(key)

    def _require_word(self, key: yaml.Node) -> None:
        if not isinstance(key, yaml.ScalarNode):
            kind = "a list" if isinstance(key, yaml.SequenceNode) else "keys with values"
            raise self._wrong("this is no key", key, "one word before the colon", kind, _DO)

    def _wrong(self, what: str, node: yaml.Node, expected: str, got: str, do: str) -> UsageError:
        return UsageError(what, f"{self._path}, line {_line(node)}", expected, got, do)


def _line(node: Any) -> int:  # a node or an event; in the stubs both may lack a mark
    """Return the first line of a node or an event, 1-based."""
    return int(node.start_mark.line) + 1
