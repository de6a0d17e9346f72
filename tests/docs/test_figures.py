"""Figures of the documents against the results of the benchmarks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the documents and of the results."""
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    return tmp_path


def figures(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "benchmarks" / "figures.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_documents_hold_the_figures_of_the_results() -> None:
    done = figures(ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("page", ["README.md", "docs/performance.md", "benchmarks/results/README.md"])
def test_a_new_result_is_missed_in_every_page_and_written_into_it(copy: Path, page: str) -> None:
    edit(copy / "benchmarks" / "results" / "camera_qc.md", "| together | | 1.19 |", "| together | | 7.19 |")
    assert "7.2 s" not in (copy / page).read_text(encoding="utf-8")
    done = figures(copy)
    assert done.returncode == 1
    assert f"{page}: other figures than the results" in done.stdout
    assert figures(copy, "--write").returncode == 0
    assert "7.2 s" in (copy / page).read_text(encoding="utf-8")
    assert figures(copy).returncode == 0


def test_a_figure_that_was_changed_by_hand_is_found_and_mended(copy: Path) -> None:
    page = copy / "README.md"
    kept = page.read_text(encoding="utf-8")
    edit(page, "6.8 to 9.0 times as fast", "6.8 to 19.0 times as fast")
    assert figures(copy).returncode == 1
    figures(copy, "--write")
    assert page.read_text(encoding="utf-8") == kept


def test_a_sentence_that_is_gone_and_a_result_that_is_gone_are_errors_with_their_place(copy: Path) -> None:
    page = copy / "docs" / "performance.md"
    kept = page.read_text(encoding="utf-8")
    edit(page, "sessions take", "sessions need")
    done = figures(copy)
    assert done.returncode == 2
    assert "docs/performance.md must hold this sentence once" in done.stderr
    page.write_text(kept, encoding="utf-8")
    edit(copy / "benchmarks" / "results" / "plan.md", "wall time", "time")
    done = figures(copy)
    assert done.returncode == 2
    assert "plan.md holds nothing that matches" in done.stderr
    assert "run benchmarks/plan.py" in done.stderr
