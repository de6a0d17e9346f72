"""Every block of code of the documents runs, or is checked as far as it can be; `NOT_RUN` has the reasons."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from document_blocks import PAGES, ROOT, Block, Synopsis, blocks, calls_in_text, synopses
from fake_alyx import FakeAlyx
from posed_sessions import write_poses

import ibl_dask.api
from ibl_dask.cli.app import app
from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.model.session import Session
from ibl_dask.store.verdicts import read_verdicts

SESSION = "Subjects/SW_001/2023-05-01/001"
LANGUAGES = {"", "python", "bash", "yaml", "json"}

NOT_RUN = {
    "import torch": "needs PyTorch, of gigabytes, and a network of the reader",
    "ibl-dask demo": "`.ci/run` runs this command, from an installation without extras",
}
"""Part of a block of Python or bash that is not run -> the reason."""


def is_run(block: Block) -> bool:
    return not any(part in block.text for part in NOT_RUN)


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one small session that was run."""
    from ibl_dask.pipeline.run import run
    from ibl_dask.synth.session import write_session

    folder = tmp_path_factory.mktemp("documents")
    write_session(folder / SESSION, duration_s=6, scale=0.125, gop=40)
    run([folder / SESSION], tasks=["VideoSyncQcNidq"])
    return folder


@pytest.fixture
def place(subjects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder of a reader, with a session in it."""
    shutil.copytree(subjects / "Subjects", tmp_path / "Subjects")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def poses(place: Path) -> Path:
    """Write keypoints of the left camera and what `ibl-dask export` makes of them."""
    from ibl_dask.cli.export import export_poses

    write_poses(place / SESSION, "left")
    export_poses([SESSION], "movement", place / "exports", None, None, None)
    return place


@pytest.fixture
def alyx(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAlyx]:
    """Yield a fake Alyx that has the session, with access to it in the environment."""
    with FakeAlyx() as fake:
        fake.world.add_session("SW_001", date="2023-05-01", number=1)
        for name, value in {"URL": fake.url, "USER": "test_user", "TOKEN": "0" * 39 + "1"}.items():
            monkeypatch.setenv(f"IBL_DASK_ALYX_{name}", value)
        monkeypatch.setenv("IBL_DASK_ALYX_REPOSITORY", "cortexlab_local")
        yield fake


NEEDED = {"pose_export.md": "poses", "pose_features.md": "poses", "jobs.md": "alyx"}
"""Page -> fixture that its Python needs besides the session."""


def names_given(page: str) -> dict[str, Any]:
    """Return what a page takes as given."""
    given: dict[str, Any] = {"__name__": "__main__"}
    if page == "jobs.md":
        given |= {"one": None, "session_path": SESSION}
    return given


@pytest.mark.parametrize("page", sorted({block.page for block in blocks("python") if is_run(block)}))
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: str, place: Path, client: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page in NEEDED:
        request.getfixturevalue(NEEDED[page])
    # Workers that run already take the place of one per core of this machine.
    monkeypatch.setattr(ibl_dask.api, "connect", lambda *_, **__: contextlib.nullcontext(client))
    names = names_given(page)
    for block in blocks("python"):
        if block.page == page and is_run(block):
            text = block.text.replace("/mnt/s0/Data/", f"{place}/").replace("/mnt/server/", f"{place}/server/")
            exec(compile("\n" * block.line + text, page, "exec"), names)


@pytest.mark.parametrize("block", [b for b in blocks("python") if not is_run(b)], ids=str)
def test_python_that_is_not_run_is_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.commands
@pytest.mark.parametrize("page", sorted({block.page for block in blocks("bash") if is_run(block)}))
def test_the_commands_of_a_page_run_from_top_to_bottom(page: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    for block in (block for block in blocks("bash") if block.page == page and is_run(block)):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text], capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_every_reason_for_not_running_is_about_a_block() -> None:
    assert [part for part in NOT_RUN if not any(part in block.text for block in blocks("python", "bash"))] == []
    assert {block.language for block in blocks()} <= LANGUAGES


# Command lines that are not run: their commands, options and values are those of the program.

NUMBERS = {"N", "S", "X", "PX", "HOURS", "SECONDS"}
"""Placeholders of numbers."""
A_NUMBER = "512"
COMMAND = typer.main.get_command(app)


def words(arguments: tuple[str, ...]) -> list[list[str]]:
    """Return the command lines that a description stands for, one for each of its alternatives."""
    plain = [A_NUMBER if word in NUMBERS else word.removesuffix("...") for word in arguments]
    lines = [[word.split("|")[0] for word in plain]]
    for i, word in enumerate(plain):
        lines += [[*lines[0][:i], choice, *lines[0][i + 1 :]] for choice in word.split("|")[1:]]
    return lines


def is_group(command: Any) -> bool:  # older Typers have the classes of Click, newer ones their own
    return hasattr(command, "commands")


def command_of(line: list[str]) -> tuple[Any, list[str]]:
    """Return the command that a line names, and its arguments."""
    command, rest = COMMAND, list(line)
    while is_group(command) and rest and not rest[0].startswith("-"):
        found = command.commands.get(rest[0])
        assert found is not None, f"there is no command {rest[0]}"
        command, rest = found, rest[1:]
    return command, rest


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def parse(line: list[str]) -> None:
    """Parse a command line as the program does, without running it."""
    command, rest = command_of(line)
    if is_group(command):
        assert not rest
        return
    try:
        command.make_context(command.name, list(rest))
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        pytest.fail(f"{' '.join(line)}: {error.format_message()}")


@pytest.mark.parametrize(
    "synopsis", [synopsis for block in blocks() for synopsis in synopses(block)], ids=lambda synopsis: synopsis.where
)
def test_a_command_of_a_block_is_one_of_the_program(synopsis: Synopsis) -> None:
    for line in words(synopsis.arguments):
        parse(line)
        assert synopsis.mentioned <= options_of(command_of(line)[0])
    for option in synopsis.optional:
        for line in words((*synopsis.arguments, *option)):
            parse(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_within_the_text_are_those_of_the_program(page: Path) -> None:
    for where, line in calls_in_text(page):
        command, rest = command_of([re.sub(r"\|.*", "", word) for word in line])
        named = {re.sub(r"[=|].*", "", word.strip("[]")) for word in rest if word.strip("[").startswith("--")}
        assert named <= options_of(command), where


def test_extras_and_files_that_blocks_name_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for block in blocks():
        for extra in re.findall(r"'(?:\.|ibl_dask)\[(\w+)\]'", block.text):
            assert extra in extras, block
        for path in re.findall(r"(?<![\w/])(?:cluster|notebooks|benchmarks)/[\w./]+\w", block.text):
            assert (ROOT / path).is_file(), block


def profiles(block: Block) -> list[dict[str, Any]]:
    """Return the profiles that a block of YAML holds: itself, or one for each line where lines are alternatives."""
    keys = re.findall(r"^(\w+):", block.text, re.MULTILINE)
    parts = [block.text] if len(set(keys)) == len(keys) else block.text.splitlines()
    made = []
    for part in parts:
        content = yaml.safe_load(re.sub(r"\b([0-9a-f]{4})\.\.\.", lambda short: short[1] * 16, part))
        if content.keys() <= {"setup", "python"}:
            pool = {"scheduler": "slurm", "queue": "cpu", "memory": "4 GB", "max_jobs": 1}
            content = {"pools": {"cpu": pool | content}}
        engine = {"kind": "onnx", "weights": "/shared/net.onnx", "sha256": "3f78" * 16}
        named = re.findall(r"\w+", str([network.get("parts") for network in content.get("networks", {}).values()]))
        if named and "engines" not in content:
            content["engines"] = dict.fromkeys(named, engine)
        made.append(content)
    return made


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_of_the_documents_is_a_profile_or_a_part_of_one(block: Block, tmp_path: Path) -> None:
    for content in profiles(block):
        (tmp_path / "site.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        read_profile(tmp_path / "site.yaml")


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_of_the_documents_is_a_file_of_verdicts(block: Block, tmp_path: Path) -> None:
    target = tmp_path / SESSION / "ibl_dask" / "verdicts.json"
    target.parent.mkdir(parents=True)
    target.write_text(block.text.replace("3f78...", "3f78" * 16), encoding="utf-8")
    (verdict,) = read_verdicts(Session(tmp_path / SESSION))
    assert verdict.camera == json.loads(block.text)["verdicts"][0]["camera"]
