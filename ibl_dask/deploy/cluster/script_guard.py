"""Check that a script starts workers under `if __name__ == "__main__":`, since each worker imports the script."""

from __future__ import annotations

import ast
import multiprocessing
import sys
from pathlib import Path
from types import FrameType

from ibl_dask.errors import UsageError

_WORDS = ("__name__", "parent_process", "_inheriting")
"""Names in a condition that distinguishes an import from the run of the script."""


def require_guard() -> None:
    """Require that the calling statement is not run again by each worker.

    Raises
    ------
    UsageError
        If the call comes from the top level of a script, outside of `if __name__ == "__main__":`.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # in a worker that imports the script
        sys.exit(1)
    frame = _top_of_script(sys._getframe(1))
    if frame is None:
        return
    path = Path(frame.f_code.co_filename)
    try:
        text = path.read_text(encoding="utf-8")
        is_guarded = _is_guarded(ast.parse(text), frame.f_lineno)
    except (OSError, ValueError, SyntaxError):  # typed interactively, or removed since
        return
    if not is_guarded:
        raise _refusal(str(path), frame.f_lineno)


def _top_of_script(frame: FrameType | None) -> FrameType | None:
    """Return the frame of the script that workers will import; None in a notebook or an installed program."""
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) is None or hasattr(main, "get_ipython"):
        return None
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals is vars(main):
            return frame
        frame = frame.f_back
    return None


def _is_guarded(tree: ast.Module, line: int) -> bool:
    """Return whether an import of a script skips a line, judging by its text."""
    for statement in tree.body:
        last = statement.end_lineno or statement.lineno
        covers, ended = statement.lineno <= line <= last, last < line
        if isinstance(statement, ast.If) and _decides(statement.test) and (covers or (ended and _ends(statement.body))):
            return True
        if covers:
            return False
    return True


def _decides(test: ast.expr) -> bool:
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute)}
    return not names.isdisjoint(_WORDS)


def _ends(body: list[ast.stmt]) -> bool:
    """Return whether a block ends the script: it raises, or calls an exit function."""
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for statement in body
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
    }
    return any(isinstance(statement, ast.Raise) for statement in body) or not calls.isdisjoint(
        ("exit", "_exit", "quit")
    )


def _refusal(path: str, line: int) -> UsageError:
    return UsageError(
        'workers are started outside of `if __name__ == "__main__":`',
        where=f"{path}, line {line}",
        expected="a script that a worker can import without starting workers itself",
        got="a call that each import runs again",
        do='write `if __name__ == "__main__":` above the lines that call `ibl_dask.connect` or `ibl_dask.run`, and '
        "indent them; a notebook needs none",
    )
