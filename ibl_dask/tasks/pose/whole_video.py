"""Step that estimates the pose by a program that takes whole videos, iblvideo, and publishes its table."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ibl_dask.errors import EngineFailed, MissingEnvironment, StepKilled, UnsafeName, UnusableFile
from ibl_dask.model.result import Result, VideoIndexed
from ibl_dask.model.shell_names import PLAIN, shell_fault
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.engines import adapter_file
from ibl_dask.pose.host.weights import stage_weights
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.networks import Network
from ibl_dask.store import alf
from ibl_dask.store.atomic import make_folder
from ibl_dask.store.tables import read_table, table_bytes
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.external.child_process import run_child
from ibl_dask.tasks.external.environments import clean_environment
from ibl_dask.tasks.external.run_end import watch_for_end
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.log_capture import current_log
from ibl_dask.tasks.pose.join_steps import PosesJoined
from ibl_dask.tasks.pose.members import CameraNetworks
from ibl_dask.tasks.pose.record import PoseRecord, hash_of, write_record
from ibl_dask.tasks.video_sync.frame_pass import staying_the_same

WHOLE_VIDEO = "iblvideo"
"""Kind of an engine that takes whole videos."""
LONGEST_S = 48 * 3600.0
"""Time after which the program is ended, s; the time-out of the step is usually shorter."""


def takes_whole_videos(networks: CameraNetworks) -> bool:
    """Return whether the networks of a camera are those of a program that takes whole videos."""
    return any(member.settings.kind == WHOLE_VIDEO for member in networks.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateWhole(Step):
    """Run the program on a copy of the video in a scratch folder, check its table, and publish that."""

    kind: ClassVar[str] = "keypoints"
    result_form: ClassVar[type[Result]] = PosesJoined

    workspace: Workspace
    """The session."""
    networks: CameraNetworks
    """Networks of the camera: one of one engine."""
    index: StepKey
    """Indexes the video."""

    def identity(self) -> Mapping[str, object]:
        networks = [[n.name, self.networks.network_fingerprint(n)] for n in self.networks.networks]
        return {"video": dict(self.networks.video), "networks": networks, "attribute": self.networks.attribute}

    def run(self, upstream: Upstream) -> PosesJoined:
        workspace, camera, attribute = self.workspace, self.camera, self.networks.attribute
        (network,) = self.networks.networks
        frame_index = load_index(workspace.index_file(camera))
        video = upstream.result(self.index, VideoIndexed).video
        settings = self.networks.members_of(network)[0].settings
        with _room(workspace, camera, attribute) as room, staying_the_same(video, frame_index):
            table = self._estimate(settings, video, room)
            columns = {name: np.asarray(values, np.float64) for name, values in read_table(table).items()}
        keypoints = Keypoints.from_columns(columns, str(table))
        if len(keypoints) != len(frame_index):
            raise UnusableFile(
                "iblvideo gave another number of rows than the video has frames",
                where=str(video),
                expected=f"{len(frame_index):,} rows",
                got=f"{len(keypoints):,}",
                do="read the log of the task; frames that do not decode cost iblvideo their rows. An engine of another "
                "kind keeps them",
            )
        published = alf.publish(workspace.pose_table(camera, attribute), table_bytes(columns), workspace.overwrite)
        record = PoseRecord(
            video=frame_index.identity(),
            table=published.relative_to(workspace.session.outputs).as_posix(),
            sha256=hash_of(published),
            networks={network.name: self._described(network, settings, keypoints, list(columns))},
            frames=len(frame_index),
            decode_errors=0,
        )
        written = write_record(workspace, camera, attribute, record)
        return PosesJoined(
            frames=len(frame_index),
            errors=0,
            outputs=(published, written),
            facts={"keypoints": len(columns) // 3, "networks": [network.name]},
        )

    def _described(
        self, network: Network, settings: EngineSettings, keypoints: Keypoints, columns: list[str]
    ) -> dict[str, object]:
        return {
            "fingerprint": self.networks.network_fingerprint(network),
            "columns": columns,
            "keypoints": list(keypoints.names),
            "engines": [settings.identity(WHOLE_VIDEO)],
            "device": self.networks.declared.device,
        }

    def _estimate(self, settings: EngineSettings, video: Path, room: Path) -> Path:
        """Run the program in a folder of its own, and return its table."""
        staged = stage_weights(settings)
        if staged is None:
            raise MissingEnvironment(
                f"engine {settings.name} has no weights",
                expected="the folder of the weights of iblvideo under `weights:`",
                got="none",
                do="name it in the site profile",
            )
        weights = room / "weights"
        shutil.copytree(staged, weights)  # the pipeline of DeepLabCut rewrites its configuration in place
        for path in (weights, *weights.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
        shown = room / "raw_video_data" / f"_iblrig_{self.camera}Camera.raw{video.suffix}"
        if (why := shell_fault(str(shown))) is not None:
            raise UnsafeName(
                f"iblvideo cannot be given a path that a shell interprets: {why}",
                where=str(shown),
                expected=PLAIN,
                got=f"the scratch folder of the session {self.session}",
                do="rename the folder of the session, or name another --work-dir: iblvideo puts it into commands, "
                "unquoted; engines of other kinds take any path",
            )
        shown.parent.mkdir()
        # A link would let the program write into the recording, or beside it where it resolves paths; a hard link also
        # changes the time of its inode, by which files are compared.
        shutil.copyfile(video, shown)
        program, answer = room / "run_iblvideo.py", room / "answer.json"
        shutil.copyfile(adapter_file(WHOLE_VIDEO), program)
        log, python = current_log(), Path(settings.python)
        status = run_child(
            [str(python), str(program), self.networks.declared.estimator, str(shown), str(weights), str(answer)],
            folder=room,
            log=log,
            variables={**clean_environment(python), "HOME": str(room), "MPLBACKEND": "Agg", "NO_COLOR": "1"},
            timeout_s=LONGEST_S,
            is_cancelled=watch_for_end(self.workspace),
        )
        found = json.loads(answer.read_text()) if answer.exists() else {}
        if "missing" in found:
            raise MissingEnvironment(
                f"the environment of engine {settings.name} does not hold iblvideo",
                where=str(python),
                expected="a Python that imports iblvideo",
                got=found["missing"],
                do="install iblvideo there, or name another `python:` for this engine",
            )
        table = Path(found.get("table", room / "none"))
        if status or not table.is_file():
            kind = StepKilled if status < 0 else EngineFailed
            raise kind(
                "iblvideo left no table",
                where=str(video),
                expected=f"_ibl_{self.camera}Camera.{self.networks.attribute}.pqt",
                got=f"exit status {status}; the end of its log: {log.tail}",
                do=log.advice,
            )
        return table


@contextlib.contextmanager
def _room(workspace: Workspace, camera: str, attribute: str) -> Iterator[Path]:
    """Yield a new folder in the scratch, which is removed afterwards."""
    make_folder(workspace.scratch)
    folder = Path(tempfile.mkdtemp(prefix=f"{attribute}-{camera}-", dir=workspace.scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
