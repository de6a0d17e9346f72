"""The field's own programs, ONE and ibllib in their environment, work with the fake Alyx that other tests use."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from alyx_results import result
from fake_alyx import FakeAlyx
from needs import PEER

from ibl_dask.alyx.session_qc import merged_qc
from ibl_dask.alyx.task_result import fit_for_alyx

pytestmark = pytest.mark.peer

SCRIPT = """
import json, sys, logging
from pathlib import Path
from one.api import ONE
from ibllib.oneibl.registration import IBLRegistrationClient
from ibllib.pipes.tasks import run_alyx_task
from ibllib.pipes.video_tasks import VideoRegisterRaw

url, root, session_id, task_id, done_id = sys.argv[1:]
one = ONE(base_url=url, username='test_user', password='secret one', silent=True, cache_rest=None,
          cache_dir=root, mode='remote')
out = {'user': one.alyx.user}
out['tasks'] = [t['name'] for t in one.alyx.rest('tasks', 'list', session=session_id, no_cache=True)]
out['patched'] = one.alyx.rest('tasks', 'partial_update', id=task_id, data={'status': 'Held'})['status']
out['eid'] = str(one.search(subject='TST_001', date_range='2026-11-20', query_type='remote')[0])
session = Path(root) / 'cortexlab' / 'Subjects' / 'TST_001' / '2026-11-20' / '001'
file = session / 'alf' / '_ibl_leftCamera.times.npy'
client = IBLRegistrationClient(one=one)
found = client.register_files([file], default=True, repository='cortexlab_local', versions=['1'])
out['registered'] = [r['name'] for r in found]
one.alyx.json_field_update('sessions', session_id, 'extended_qc', {'videoLeft': 'PASS'})
note = one.alyx.rest('notes', 'create', data={'user': 'test_user', 'content_type': 'session',
                     'object_id': session_id, 'text': 'a plot'}, files={'image': (session / 'a.png').open('rb')})
out['note'] = note['text']
try:
    one.alyx.rest('tasks', 'partial_update', id=task_id, data={'status': 'waiting'})
except Exception as error:
    out['refused'] = type(error).__name__ + ' ' + str(error.response.status_code)
tdict = one.alyx.rest('tasks', 'read', id=done_id)
row, datasets = run_alyx_task(tdict=tdict, session_path=session, one=one, location='server')
out['status'] = row['status'] if row['status'] == 'Complete' else row['log']

from ibllib.qc.base import QC
qc = QC(session_id, one=one)
qc.update('WARNING', namespace='videoLeft')
qc.update_extended_qc({'_videoLeft_focus': float('nan'), '_videoLeft_pin_state': 'WARNING'})
qc.update('PASS', namespace='videoRight')
print('ANSWER' + json.dumps(out))
"""


def test_one_and_ibllib_log_in_list_change_register_and_run_a_task(tmp_path):
    from fake_alyx import PNG

    folder = tmp_path / "data/cortexlab/Subjects/TST_001/2026-11-20/001"
    (folder / "alf").mkdir(parents=True)
    (folder / "alf/_ibl_leftCamera.times.npy").write_bytes(b"times")
    (folder / "a.png").write_bytes(PNG)
    (folder / "raw_video_data").mkdir()
    (folder / "raw_video_data/_iblrig_leftCamera.timestamps.ssv").write_text("1 2\n")
    (folder / "raw_video_data/_iblrig_leftCamera.raw.mp4").write_bytes(b"video")
    globus = tmp_path / ".globusonline/lta/client-id.txt"
    globus.parent.mkdir(parents=True)
    globus.write_text("00000000-1111-4222-8333-444444444444")
    with FakeAlyx() as fake:
        session = fake.world.add_session("TST_001")
        task = fake.world.add_task(session, "VideoCompress")
        arguments = {"cameras": ["left"], "device_collection": "raw_video_data"}
        executable = "ibllib.pipes.video_tasks.VideoRegisterRaw"
        done = fake.world.add_task(session, "VideoRegisterRaw", executable=executable, arguments=arguments)
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MPLBACKEND": "Agg"}
        ran = subprocess.run(
            [PEER, "-c", SCRIPT, fake.url, str(tmp_path / "data"), session, task, done],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "ANSWER" in ran.stdout, ran.stdout + ran.stderr
        found = json.loads(ran.stdout.partition("ANSWER")[2])
        assert found == {
            "user": "test_user",
            "tasks": found["tasks"],
            "patched": "Held",
            "eid": session,
            "registered": ["_ibl_leftCamera.times.npy"],
            "note": "a plot",
            "refused": "HTTPError 400",
            "status": "Complete",
        }
        assert sorted(found["tasks"]) == ["VideoCompress", "VideoRegisterRaw"]
        assert fake.world.tasks[task]["status"] == "Held"
        assert fake.world.tasks[done]["status"] == "Complete"
        theirs = {name: fake.world.sessions[session][name] for name in ("qc", "extended_qc")}
        left = {"_videoLeft_focus": float("nan"), "_videoLeft_pin_state": "WARNING", "videoLeft": "WARNING"}
        results = [
            result("TST_001", session, "", outcome="WARNING", qc=left),
            result("TST_001", session, "", outcome="PASS", qc={"videoRight": "PASS"}),
        ]
        fit = [fit_for_alyx(each) for each in results]
        assert merged_qc(fit, {"qc": "NOT_SET", "extended_qc": {"videoLeft": "PASS"}}) == theirs
        assert "alf/_ibl_leftCamera.times.npy" in fake.world.files_of(session)
        assert list(fake.world.images.values()) == [PNG]
