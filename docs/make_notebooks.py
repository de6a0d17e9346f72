"""Run notebooks and keep their outputs, without names of this machine and of its folders.

    python docs/make_notebooks.py [notebooks/first_session.ipynb ...]

runs those given, or all but those that need a cluster. Each runs in an empty folder, which is removed.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
MOST_BYTES = 400_000


def without_places(text: str, folder: str) -> str:
    """Return a text in which the folder that a notebook ran in, and user and host, have neutral names."""
    host = re.escape(socket.gethostname().split(".")[0])
    text = text.replace(f"file://{folder}/", "").replace(f"{folder}/", "").replace(folder, ".")
    text = text.replace(f"{getpass.getuser()}@{socket.gethostname()}", "me@my-machine")
    return re.sub(rf"\b{host}(?=:\d|, process)", "my-machine", text)


def clean(value: Any, folder: str, kind: str = "") -> Any:
    """Return an output, or a part of it, without names of this machine."""
    if isinstance(value, str):
        return value if kind.startswith("image/png") else without_places(value, folder)
    if isinstance(value, list):
        return [clean(each, folder, kind) for each in value]
    if isinstance(value, dict):
        return {key: clean(each, folder, key) for key, each in value.items()}
    return value


def make(path: Path) -> None:
    """Run a notebook and write it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}})
        client.execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            for output in cell.get("outputs", ()):
                output.update(clean(dict(output), folder))
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)
    size = path.stat().st_size
    print(f"{path.name}: {size:,} bytes{'' if size < MOST_BYTES else ', too many'}")


def main() -> None:
    """Run the notebooks that the command line names."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = [Path(name) for name in sys.argv[1:]]
    everything = sorted(FOLDER.glob("*.ipynb"))
    for path in given or [each for each in everything if nbformat.read(each, 4).metadata.get("needs") != "slurm"]:
        make(path)


if __name__ == "__main__":
    main()
