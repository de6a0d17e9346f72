"""What a site declares in its profile is there for rows of Alyx as well."""

from __future__ import annotations

import json
import os
from pathlib import Path

import forked_program
import yaml
from alyx_passes import one_pass
from described import described
from disc_sessions import NAMES, site, write_discs

from ibl_dask.alyx.client import Alyx
from ibl_dask.store.tables import read_table


def test_a_row_of_dlc_is_estimated_by_the_networks_of_the_site(fake, alyx: Alyx, tmp_path: Path) -> None:
    session = tmp_path / "Subjects" / "TST_001" / "2026-11-20" / "001"
    write_discs(session)
    row = fake.world.add_task(fake.world.add_session("TST_001"), "DLC", executable="ibllib.pipes.video_tasks.DLC")
    one_pass(alyx, tmp_path / "Subjects")
    assert fake.world.tasks[row]["status"] == "Waiting", "without networks it is a task of another environment"
    one_pass(alyx, tmp_path / "Subjects", **site())
    assert fake.world.tasks[row]["status"] == "Complete", fake.world.tasks[row]["log"]
    table = read_table(session / "alf" / "_ibl_leftCamera.dlc.pqt")
    assert f"{NAMES[0]}_x" in table


def test_the_commands_of_a_site_are_told_of_each_pass(fake, tmp_path: Path) -> None:
    described(tmp_path, "TST_001/2026-11-20/001")
    fake.world.add_task(fake.world.add_session("TST_001"), "TaskFails", executable="seven_tasks.TaskFails")
    token, told, profile = tmp_path / "token", tmp_path / "told.json", tmp_path / "site.yaml"
    token.write_text("0" * 39 + "1")
    token.chmod(0o600)
    profile.write_text(yaml.safe_dump({"name": "server", "workers": 1, "on_failure": ["sh", "-c", f"cat > {told}"]}))
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1] / "helpers"),
        "HOME": str(tmp_path),
        "IBL_DASK_ALYX_URL": fake.url,
        "IBL_DASK_ALYX_USER": "test_user",
        "IBL_DASK_ALYX_TOKEN_FILE": str(token),
        "IBL_DASK_ALYX_REPOSITORY": "cortexlab_local",
        "IBL_DASK_TASK_PACKAGES": "seven_tasks",
    }
    command = ["alyx", "run", str(tmp_path / "Subjects"), "--workers", "0", "--profile", str(profile)]
    code, out, err = forked_program.call(*command, env=environment)
    assert code == 0, out + err
    content = json.loads(told.read_text())
    assert content["occasion"] == "on_failure"
    assert content["state"] == "failed"
