"""Options of tasks as options of commands, from their declarations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ibl_dask.tasks.options import OPTIONS


def with_task_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of tasks. It takes those that are given as `**options`, by their names in Python."""
    options = {option.name: option for option in OPTIONS.values() if option.help}
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:  # values of all types that commands take
        values = {name: given.pop(name) for name in options}
        read = {name: options[name].read(value) for name, value in values.items() if value is not None}
        command(**given, **read)

    added = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[option.kind | None, typer.Option(option.flag, help=option.help)],
        )
        for option in options.values()
    ]
    parameters = [*own, *added]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by typer
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options
