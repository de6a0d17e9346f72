"""YAML in which every key knows its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ibl_dask.errors import MissingFile, UsageError
from ibl_dask.model.text import read_text

AS_WRITTEN = frozenset({"memory", "umask", "walltime"})
"""Keys whose value stays text. YAML would take 10:00:00 for the number 36,000, 08:00:00 for text, and 027 for 23."""

_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Read a YAML file that holds keys, and the line of each.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    content : dict
        What it says; empty where it says nothing.
    lines : dict
        Line of each key and of each entry of a list, 1-based, by dotted path: `pools.gpu.memory`, `pools.gpu.setup.0`.

    Raises
    ------
    MissingFile, UsageError
        If there is no such file, it is not YAML, or a key is there twice.
    """
    try:
        root = yaml.compose(read_text(path), Loader=yaml.SafeLoader)
    except FileNotFoundError as error:
        raise MissingFile(
            "this profile does not exist",
            where=str(path),
            expected="a YAML file",
            got="nothing",
            do="give one of the files in cluster/, or your own",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise UsageError(
            "this profile is not YAML",
            where=str(path) if mark is None else f"{path}, line {mark.line + 1}",
            expected="lines `key: value`, indented with blanks",
            got=getattr(error, "problem", None) or str(error),
            do="compare with the files in cluster/",
        ) from error
    lines: dict[str, int] = {}
    if root is None:
        return {}, lines
    content = _value(root, (), lines, path)
    if not isinstance(content, dict):
        raise UsageError(
            "this profile has no keys",
            where=f"{path}, line 1",
            expected="lines `key: value`",
            got=f"a {type(content).__name__}",
            do="compare with the files in cluster/",
        )
    return content, lines


def _value(node: yaml.Node, at: tuple[str, ...], lines: dict[str, int], path: Path) -> Any:  # whatever YAML holds
    """Return what a node holds, and note the lines of all that is in it."""
    if isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value):
            lines[".".join((*at, str(number)))] = entry.start_mark.line + 1
        return [_value(entry, (*at, str(number)), lines, path) for number, entry in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        _insist_on_single_keys(node, at, path)
        content = {}
        for key, value in _items(node):
            lines[".".join((*at, key.value))] = key.start_mark.line + 1
            content[str(key.value)] = _value(value, (*at, key.value), lines, path)
        return content
    if at and at[-1] in AS_WRITTEN and node.tag != "tag:yaml.org,2002:null":
        return str(node.value)
    return yaml.SafeLoader("").construct_object(node)


def _items(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yield what a mapping takes over from others (`<<: *other`), and then its own, which counts."""
    for key, value in node.value:
        if key.tag == _MERGE:
            for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield from _items(other) if isinstance(other, yaml.MappingNode) else ()
    yield from ((key, value) for key, value in node.value if key.tag != _MERGE)


def _insist_on_single_keys(node: yaml.MappingNode, at: tuple[str, ...], path: Path) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            kind = "two pools have one name" if at == ("pools",) else "a key is there twice"
            raise UsageError(
                f"{kind}: {key.value}",
                where=f"{path}, line {line}",
                expected=f"{'.'.join((*at, key.value))} once",
                got=f"it is on line {seen[key.value]} already",
                do="give one of the pools another name" if at == ("pools",) else "remove one of the two",
            )
        seen[key.value] = line
