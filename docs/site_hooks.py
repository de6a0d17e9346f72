"""Hooks of mkdocs: the site has the documents outside of `docs/` that its pages link to.

On a code host the links of a page lead through the repository (`../benchmarks/results/frame_pass.md`). The site has
these files as pages of the same names: Markdown as it is, notebooks as Markdown, programs as a block of code.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = "docs/"
OUTSIDE = [
    "*.md",
    "notebooks/*.ipynb",
    "cluster/*.*",
    "benchmarks/*.py",
    "benchmarks/results/*.md",
    "benchmarks/results/*.svg",
]
"""Files of the repository that the site has besides those of `docs/`."""
LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml"}
"""Languages of files that are shown as a block of code."""
REPOSITORY_PATHS: dict[str, str] = {}
"""Page of the site -> its file in the repository, for those outside of `docs/`."""
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
"""Path of a link within the repository."""
FILE_NAME = re.compile(r"\[(?:docs/)?(\w+)\.md\]\(")
"""Text of a link that is the name of its page."""


def notebook_text(text: str) -> str:
    """Return the cells of a notebook as Markdown."""
    cells = json.loads(text)["cells"]
    parts = [("".join(cell["source"]), cell["cell_type"]) for cell in cells]
    return "\n\n".join(f"```python\n{source}\n```" if kind == "code" else source for source, kind in parts)


def page_name(path: str) -> str:
    """Return the name that the site has for a file of the repository."""
    if path == "README.md":
        return "index.md"
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    stem, suffix = posixpath.splitext(path)
    if suffix == ".ipynb":
        return f"{stem}.md"
    return f"{path}.md" if suffix in LANGUAGES else path


def page_text(path: Path) -> str:
    """Return a file of the repository as a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return notebook_text(text)
    if path.suffix in LANGUAGES:
        return f"# {path.name}\n\n```{LANGUAGES[path.suffix]}\n{text}\n```\n"
    return text


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository outside of `docs/`."""
    for path in sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        if name == "README.md":
            continue
        if path.suffix == ".svg":
            files.append(File.generated(config, name, abs_src_path=str(path)))
        else:
            files.append(File.generated(config, page_name(name), content=page_text(path)))
            REPOSITORY_PATHS[page_name(name)] = name
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:  # mkdocs passes config and files as well
    """Make links of the repository those of the site."""
    here = REPOSITORY_PATHS.get(page.file.src_uri, DOCS + page.file.src_uri)

    def of_the_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[1]))
        return os.path.relpath(page_name(target), posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(of_the_site, FILE_NAME.sub(lambda name: f"[{name[1].replace('_', ' ')}](", markdown))


def on_post_build(config: MkDocsConfig) -> None:
    """Write the index of the search as a script, which a page that is opened from a disk can read."""
    folder = Path(config.site_dir) / "search"
    index = (folder / "search_index.json").read_text(encoding="utf-8")
    (folder / "search_index.js").write_text(f"var __index = {index}", encoding="utf-8")
