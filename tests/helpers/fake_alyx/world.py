"""Rows of the fake Alyx."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import struct
import threading
import uuid
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime

FILES = "/flatiron/"
"""Beginning of the addresses of files; the fake serves them itself."""
STATUSES = ("Waiting", "Held", "Started", "Errored", "Abandoned", "Empty", "Incomplete", "Complete")
QC = {"NOT_SET": 0, "PASS": 10, "WARNING": 30, "FAIL": 40, "CRITICAL": 50}
_TYPES = {
    "DAQdata.meta": "_*_DAQdata.meta*",
    "DAQdata.raw": "_*_DAQdata.raw*",
    "_iblrig_Camera.raw": "_iblrig_*Camera.raw*",
    "_iblrig_Camera.timestamps": "_iblrig_*Camera.timestamps*",
    "_iblrig_Camera.GPIO": "_iblrig_*Camera.GPIO*",
    "_iblrig_Camera.frame_counter": "_iblrig_*Camera.frame_counter*",
    "_iblrig_Camera.frameData": "_iblrig_*Camera.frameData*",
    "_iblrig_taskData.raw": "_iblrig_taskData.raw*",
    "_iblrig_taskSettings.raw": "_iblrig_taskSettings.raw*",
    "_iblrig_encoderEvents.raw": "_iblrig_encoderEvents.raw*",
    "_iblrig_encoderPositions.raw": "_iblrig_encoderPositions.raw*",
    "_iblrig_encoderTrialInfo.raw": "_iblrig_encoderTrialInfo.raw*",
    "_iblrig_ambientSensorData.raw": "_iblrig_ambientSensorData.raw*",
    "_ibl_experiment.description": "_ibl_experiment.description*",
    "camera.times": "_ibl_*Camera.times*",
    "camera.dlc": "_ibl_*Camera.dlc*",
    "camera.features": "_ibl_*Camera.features*",
    "camera.lightningPose": "_ibl_*Camera.lightningPose*",
    "camera.ROIMotionEnergy": "*Camera.ROIMotionEnergy*",
    "ROIMotionEnergy.position": "*ROIMotionEnergy.position*",
    "licks.times": "licks.times*",
    "probes.description": "probes.description*",
    "wheel.position": "*wheel.position*",
    "wheel.timestamps": "*wheel.timestamps*",
    "trials.table": "*trials.table*",
}
_FORMATS = (
    "avi bin cbin ch csv flac h5 htsv json jsonable log mat meta mov mp4 mtscomp npy npz ogv pickle png pqt py sess "
)
_FORMATS += "sparse_npz ssv tar tif tsv txt wav yaml zip"
LIST_OF_SESSION = ("id", "subject", "start_time", "number", "lab", "projects", "url", "task_protocol")


def _png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(8) for _ in range(8)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


PNG = _png()
"""A whole image."""


def now() -> str:
    """Return the time as Alyx writes it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


class World:
    """All rows, with one lab, two repositories and three users; `add_session` and `add_task` fill it.

    `tasks` in one order of insertion; a list shows rows that tie in a random order at each request.
    """

    def __init__(self, seed: int = 0) -> None:
        self.url = "http://127.0.0.1:8000"
        self.lock = threading.RLock()
        self.random = random.Random(seed)
        self.register_pause_s = 0.0
        """Time between looking for a dataset and making it, in which another request may make it as well."""
        self.post_pause_s = 0.0
        """The same for tasks; here the database refuses the second row."""
        self.names_all_files = False
        """A refusal for protected datasets names all files of the call."""
        self.tokens = {"0" * 39 + "1": "test_user", "0" * 39 + "2": "worker_user", "0" * 39 + "3": "public_user"}
        self.passwords = {"test_user": "secret one", "worker_user": "secret two", "public_user": "secret three"}
        self.labs = {"cortexlab": {"repositories": ["cortexlab_local", "flatiron_cortexlab"], "json": None}}
        self.repositories = {
            "flatiron_cortexlab": _repository("flatiron_cortexlab", "/cortexlab/Subjects/", False),
            "cortexlab_local": _repository("cortexlab_local", "/mnt/s0/Data/Subjects/", True),
        }
        self.subjects: dict[str, dict] = {}
        self.sessions: dict[str, dict] = {}
        self.tasks: dict[str, dict] = {}
        self.datasets: dict[str, dict] = {}
        self.notes: dict[str, dict] = {}
        self.weighings: dict[str, dict] = {}
        self.waters: dict[str, dict] = {}
        self.insertions: dict[str, dict] = {}
        self.images: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        """Path below `FILES` -> content."""
        self.protected_tags = {"protected_tag"}
        self.projects = {"ibl_dask_project"}
        self.locations = {"_iblrig_cortexlab_behavior_0", "_iblrig_cortexlab_ephys_0"}
        self.procedures = {"Behavior training/tasks", "Ephys recording with acute probe(s)"}
        self.types = [_named(name, filename_pattern=p, created_by=None, description="") for name, p in _TYPES.items()]
        self.types += [
            _named(f"other{n}.thing", filename_pattern=f"_other{n}_*", created_by=None, description="")
            for n in range(142 - len(_TYPES))
        ]
        self.formats = [
            _named(
                name, json=None, description="", file_extension=f".{name}",
                matlab_loader_function="", python_loader_function="",
            )
            for name in _FORMATS.split()
        ]  # fmt: skip
        self._row = itertools.count(3)
        for name in ("TST_001", "TST_002"):
            self.add_subject(name)

    @property
    def next_row(self) -> int:
        """Return the number of a database row that failed."""
        return next(self._row)

    def add_subject(self, nickname: str, lab: str = "cortexlab") -> dict:
        """Add a subject."""
        row = {
            "nickname": nickname, "id": str(uuid.uuid4()), "responsible_user": "test_user", "birth_date": "2026-01-01",
            "age_weeks": 46, "death_date": None, "species": "Laboratory mouse", "sex": "M", "litter": None,
            "strain": None, "source": None, "line": None, "projects": ["ibl_dask_project"], "session_projects": [],
            "lab": lab, "genotype": [], "description": "", "alive": True, "reference_weight": 0.0,
            "last_water_restriction": None, "expected_water": 0.0, "remaining_water": 0.0, "json": None,
        }  # fmt: skip
        self.subjects[nickname] = row
        return row

    def add_session(self, subject: str, date: str = "2026-11-20", number: int = 1, **fields: object) -> str:
        """Add a session, and its subject if need be; return its id."""
        if subject not in self.subjects:
            self.add_subject(subject)
        key = str(fields.pop("id", None) or uuid.uuid4())
        self.sessions[key] = {
            "subject": subject, "users": ["test_user"], "location": None, "procedures": [],
            "lab": self.subjects[subject]["lab"], "projects": ["ibl_dask_project"], "type": "Experiment",
            "task_protocol": "", "number": number, "start_time": f"{date}T12:15:18.145140", "end_time": None,
            "narrative": "", "parent_session": None, "n_correct_trials": None, "n_trials": None, "extended_qc": None,
            "qc": "NOT_SET", "auto_datetime": now(), "id": key, "json": None, **fields,
        }  # fmt: skip
        return key

    def add_task(self, session: str | None, name: str, **fields: object) -> str:
        """Add a task; return its id."""
        key = str(fields.pop("id", None) or uuid.uuid4())
        self.tasks[key] = {
            "id": key, "parents": [], "session": session, "data_repository": "cortexlab_local", "status": "Waiting",
            "name": name, "priority": 50, "io_charge": 5, "level": 0, "gpu": 0, "cpu": 1, "ram": 4,
            "time_out_secs": 7200, "time_elapsed_secs": None, "executable": f"ibllib.pipes.video_tasks.{name}",
            "graph": "Pipeline", "log": None, "version": None, "datetime": now(), "arguments": {}, **fields,
        }  # fmt: skip
        return key

    def add_file(self, session: str, path: str, content: bytes, **fields: object) -> str:
        """Add a dataset whose file the server of files has; return its id."""
        row, (collection, _, name) = self.sessions[session], path.rpartition("/")
        repository = self.repositories["flatiron_cortexlab"]
        repository["data_url"] = f"{self.url}{FILES}cortexlab/Subjects/"
        key = str(uuid.uuid4())
        whole = f"{row['subject']}/{row['start_time'][:10]}/{row['number']:03}/{path}"
        records = [
            {"id": str(uuid.uuid4()), "data_repository": place, "relative_path": whole, "exists": True}
            for place in ("flatiron_cortexlab", "cortexlab_local")
        ]
        self.datasets[key] = {
            "id": key, "name": name, "created_by": "test_user", "created_datetime": now(), "auto_datetime": now(),
            "dataset_type": "", "data_format": "", "session": session, "collection": collection, "revision": "",
            "tags": [], "file_records": records, "file_size": len(content),
            "hash": hashlib.md5(content).hexdigest(), "version": None, "default": True, "qc": "NOT_SET", **fields,
        }  # fmt: skip
        stem, _, kind = whole.rpartition(".")
        self.files[f"cortexlab/Subjects/{stem}.{key}.{kind}"] = content
        return key

    def protect(self, name: str) -> None:
        """Protect all datasets of a file name."""
        for row in self.datasets.values():
            if row["name"] == name:
                row["tags"] = ["protected_tag"]

    def is_protected(self, row: Mapping) -> bool:
        """Return whether a dataset has a protected tag."""
        return bool(self.protected_tags.intersection(row["tags"]))

    def files_of(self, session: str) -> list[str]:
        """Return the files of a session that are registered, each as often as it is."""
        rows = (row for row in self.datasets.values() if row["session"] == session)
        return sorted(
            "/".join(filter(None, (r["collection"], r["revision"] and f"#{r['revision']}#", r["name"]))) for r in rows
        )


def _repository(name: str, path: str, is_personal: bool) -> dict:
    return {
        "name": name, "timezone": "UTC", "globus_path": path,
        "hostname": "localserver" if is_personal else "ibl.flatironinstitute.org",
        "data_url": None if is_personal else "http://127.0.0.1:8001/cortexlab/Subjects/",
        "repository_type": "Fileserver",
        "globus_endpoint_id": f"00000000-1111-4222-8333-{'4' * 12 if is_personal else '5' * 12}",
        "globus_is_personal": is_personal, "json": None,
    }  # fmt: skip


def _named(name: str, **fields: object) -> dict:
    return {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)), "name": name, **fields}


def is_uuid(text: object) -> bool:
    """Return whether a text is a UUID."""
    return (
        isinstance(text, str) and re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text) is not None
    )
