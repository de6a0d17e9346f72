"""`docs/differences.md` names only tests that exist, in every row one at least."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


def names_of_tests(path: Path) -> set[str]:
    """Return the tests of a file, those in a class as `Class::test`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


def rows() -> list[str]:
    lines = [line for line in TEXT.splitlines() if line.startswith("|")]
    return [line for line in lines if not re.match(r"\|\s*(-|No\.)", line)]


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(TEXT))))
def test_a_test_that_the_document_names_exists(path: str, name: str) -> None:
    assert name in names_of_tests(ROOT / path)


def test_every_row_names_a_test() -> None:
    assert len(rows()) > 20
    assert [row for row in rows() if not NAMED.search(row)] == []


def test_a_row_s_number_is_in_the_name_of_its_test() -> None:
    for row in rows():
        number = row.split("|")[1].strip()
        if number:
            assert any(f"test_{number.replace('.', '_')}_" in name for _, name in NAMED.findall(row)), row


def test_the_document_stands_alone() -> None:
    """It leads to nothing that a reader of the repository does not have."""
    assert "spec/" not in TEXT
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
