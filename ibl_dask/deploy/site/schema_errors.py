"""Errors of the schema as messages: the line, the expected value, and the text to write there."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ibl_dask.deploy.site.profile import line_of
from ibl_dask.errors import UsageError

MOST_SHOWN = 100
"""Number of characters of a value that are shown."""


def profile_error(error: ValidationError, model: type[BaseModel], lines: Mapping[str, int], path: Path) -> UsageError:
    """Return the errors of pydantic as one: the first line in full, and the numbers of the others.

    Parameters
    ----------
    error
        Error that pydantic raised.
    model
        Model of the profile. Descriptions of its fields are the expected values, their examples the text to write.
    lines
        Line of each key, as `read_yaml` gives them.
    path : Path
        The file.
    """
    found = {_path(item["loc"]): item for item in reversed(error.errors())}
    order = sorted(found, key=lambda at: (_number(lines, at), at))
    at, item = order[0], found[order[0]]
    where = line_of(lines, str(path), *at)
    # A line that several pools merge is one error.
    others = [other for other in order[1:] if _number(lines, other) != _number(lines, at)]
    more = "".join(f"; look at line {_number(lines, other)} ({'.'.join(other)}) too" for other in others)
    if item["type"] == "extra_forbidden":
        return _unknown_key(model, at, where, more)
    field = _field(model, at)
    expected = field.description or "another value"
    if item["type"] == "less_than_equal":
        expected += f", at most {item['ctx']['le']:,}"
    write = f"write `{at[_depth(model, at) - 1]}: {field.examples[0] if field.examples else '...'}`"
    if item["type"] == "missing":
        return UsageError(f"{at[-1]} is missing in {'.'.join(at[:-1])}", where, expected, "nothing", write + more)
    got = "nothing" if item["input"] is None else _shown(item["input"])
    if at[-1] == "[key]":
        at, got, write = at[:-1], repr(at[-2]), "give it another name"
    reason = str(item.get("ctx", {}).get("error", ""))
    got += f" ({reason})" if reason and not reason.startswith("no ") else ""
    return UsageError(f"{'.'.join(at)} makes no sense", where, expected, got, write + more)


def _shown(value: object) -> str:
    """Return a value as it stands in the file, shortened to `MOST_SHOWN` characters."""
    text = str(value) if isinstance(value, datetime.date) else repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _path(loc: Sequence[int | str]) -> tuple[str, ...]:
    return tuple(map(str, loc))


def _number(lines: Mapping[str, int], at: Sequence[str]) -> int:
    """Return the line of a key, or of the innermost key around it."""
    return next((n for end in range(len(at), 0, -1) if (n := lines.get(".".join(at[:end])))), 1)


def _unknown_key(model: type[BaseModel], at: tuple[str, ...], where: str, more: str) -> UsageError:
    known = list(_around(model, at).model_fields)
    nearest = difflib.get_close_matches(at[-1].replace("-", "_"), known, n=1, cutoff=0.6)
    write = f"write `{nearest[0]}` if that is meant, or remove the line" if nearest else "remove the line"
    return UsageError(f"there is no key {at[-1]}", where, f"one of {', '.join(known)}", at[-1], write + more)


def _around(model: type[BaseModel], at: Sequence[str]) -> type[BaseModel]:
    """Return the model of the key at a path: the site's, or that of a pool or an engine."""
    field = model.model_fields.get(at[0]) if len(at) > 2 else None
    inner = None if field is None else _model_in(field.annotation)
    return inner or model


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model inside an annotation; None if it holds none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _depth(model: type[BaseModel], at: Sequence[str]) -> int:
    """Return the number of names in a path that lead to a key of a model; further ones lead into its value."""
    is_inner = _around(model, at) is not model and at[2] in _around(model, at).model_fields
    return 3 if is_inner else 1


def _field(model: type[BaseModel], at: Sequence[str]) -> FieldInfo:
    depth = _depth(model, at)
    return (_around(model, at) if depth == 3 else model).model_fields[at[depth - 1]]
