"""Each examination starts workers, so one serves several tests where it can."""

import json
import os
import subprocess
import sys

import forked_program


def call(*arguments, cwd, **environment):
    """Run the program; return exit code, output and errors."""
    env = {**os.environ, "COLUMNS": "160", **environment}
    code, out, err = forked_program.call("doctor", *arguments, cwd=cwd, env=env)
    assert "Traceback" not in out + err
    return code, out, err


def local(folder):
    path = folder / "site.yaml"
    path.write_text("name: here\nworkers: 1\ndashboard_port: 0\n")
    return path


def test_a_good_machine_is_shown_as_a_table(tmp_path):
    code, shown, told = call("--profile", local(tmp_path), "--work-dir", tmp_path / "work", cwd=tmp_path)
    assert code == 0, shown
    assert shown.startswith("here: ")
    assert "pool cpu" in shown
    assert "encoded and decoded" in shown
    assert "waiting for a worker" in told


def test_findings_can_be_read_by_programs_and_the_folder_of_the_environment_is_looked_at(tmp_path):
    scratch = tmp_path / "scratch"
    code, shown, _ = call("--profile", local(tmp_path), "--json", cwd=tmp_path, IBL_DASK_SCRATCH=str(scratch))
    content = json.loads(shown)
    assert code == 0
    assert content["profile"] == "here"
    assert {row["place"] for row in content["findings"]} == {"driver", "pool cpu"}
    folders = [row["found"] for row in content["findings"] if row["check"] == "work folder"]
    assert folders
    assert all(found.startswith(f"{scratch}: ") for found in folders)
    assert not scratch.exists()


def test_a_problem_is_shown_with_what_to_do_and_the_exit_code_is_not_zero(tmp_path):
    command = f"ulimit -n 150; exec {sys.executable} -c 'from ibl_dask.cli.app import main; main()' doctor"
    process = subprocess.run(
        ["bash", "-c", f"{command} --profile {local(tmp_path)}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert process.returncode == 1
    assert str(tmp_path / ".ibl_dask") in "".join(process.stdout.split())
    assert not (tmp_path / ".ibl_dask").exists()
    assert "150 open files allowed" in " ".join(process.stdout.split())
    assert "→" in process.stdout


def test_a_work_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("x")
    code, _, told = call("--profile", local(tmp_path), "--work-dir", tmp_path / "file" / "work", cwd=tmp_path)
    assert code == 2
    assert "cannot be written" in told
