"""Files that results after pose estimation are made of: keypoints, frame times, motion energies, trials, wheel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import MissingFile, UnusableFile
from ibl_dask.pose.features import Tracker
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.report.pose_content import TRIAL_COLUMNS
from ibl_dask.store import alf
from ibl_dask.store.tables import column_names, read_table
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.pose.record import published_table

ALF = "alf"
TRIALS = "_ibl_trials.table.pqt"
TRIAL_ARRAYS = tuple(f"_ibl_trials.{name}.npy" for name in TRIAL_COLUMNS)
"""Where sessions of before 2022 hold the columns of the table."""
WHEEL = ("_ibl_wheel.timestamps.npy", "_ibl_wheel.position.npy")


@dataclass(frozen=True, slots=True)
class PoseFiles:
    """Files of one tracker in a session; a file of the results precedes one of the session."""

    workspace: Workspace
    """The session."""
    tracker: Tracker
    """dlc or lightningPose."""
    trials_collection: str = ALF
    """Folder of trials and wheel."""

    def table(self, camera: str) -> Path | None:
        """Return the table of a camera; None if there is none."""
        try:
            return published_table(self.workspace, camera, self.tracker)
        except MissingFile:
            return alf.find(self.workspace.session, ALF, f"_ibl_{camera}Camera.{self.tracker}.pqt")

    def times(self, camera: str) -> Path | None:
        """Return the frame times of a camera; None if there are none."""
        found = self.workspace.published_times(camera)
        return found or alf.find(self.workspace.session, ALF, f"_ibl_{camera}Camera.times.npy")

    def energy(self, camera: str) -> Path | None:
        """Return the motion energies of a camera; None if there are none."""
        name = f"{camera}Camera.ROIMotionEnergy.npy"
        found = alf.latest(self.workspace.session.outputs / ALF / name)
        return found or alf.find(self.workspace.session, ALF, name)

    def features(self, camera: str) -> Path | None:
        """Return the features of a camera; None if there are none."""
        return alf.latest(features_file(self.workspace, camera))

    def trials(self) -> tuple[Path, ...]:
        """Return the files of the trials: the table, and the arrays of single columns; none if there are none."""
        found = (alf.find(self.workspace.session, self.trials_collection, name) for name in (TRIALS, *TRIAL_ARRAYS))
        return tuple(path for path in found if path is not None)

    def read_trials(self) -> dict[str, NDArray[np.float64]]:
        """Return the columns of the trials that results are made of (`TRIAL_COLUMNS`), each (trial,); those there are.

        A column of the table precedes an array of its own.

        Raises
        ------
        UnusableFile
            If a file holds no table, or no numbers.
        """
        columns: dict[str, NDArray[np.float64]] = {}
        for path in self.trials():
            if path.suffix == ".pqt":
                read = read_table(path, TRIAL_COLUMNS)
                columns.update({name: np.asarray(values, np.float64) for name, values in read.items()})
            else:
                columns.setdefault(path.name.split(".")[1], read_array(path))
        return columns

    def wheel(self) -> tuple[Path, Path] | None:
        """Return times and positions of the wheel; None if there are none."""
        for collection in dict.fromkeys((self.trials_collection, ALF)):
            found = [alf.find(self.workspace.session, collection, name) for name in WHEEL]
            times, positions = found
            if times is not None and positions is not None:
                return times, positions
        return None

    def names(self, camera: str) -> tuple[str, ...]:
        """Return the keypoints of a camera; none without a table that can be read."""
        table = self.table(camera)
        if table is None:
            return ()
        try:
            columns = column_names(table)
        except (UnusableFile, MissingFile):
            return ()
        return tuple(name.removesuffix("_likelihood") for name in columns if name.endswith("_likelihood"))

    def read_keypoints(self, camera: str) -> Keypoints:
        """Return the keypoints of a camera as they were published.

        Raises
        ------
        MissingFile
            If there is no table.
        UnusableFile
            If it holds no keypoints.
        """
        table = self.table(camera) or published_table(self.workspace, camera, self.tracker)
        return Keypoints.from_columns(read_table(table), str(table))

    def read_times(self, camera: str) -> NDArray[np.float64] | None:
        """Return the frame times of a camera, s; None if there are none."""
        path = self.times(camera)
        return None if path is None else read_array(path)


def read_array(path: Path) -> NDArray[np.float64]:
    """Read an array of numbers.

    Raises
    ------
    UnusableFile
        If the file is none.
    """
    try:
        return np.asarray(np.load(path), np.float64)
    except (ValueError, TypeError, EOFError) as error:
        raise UnusableFile(
            "this file holds no numbers",
            where=str(path),
            expected="an array that NumPy reads",
            got=str(error),
            do="remove it, and run the task that makes it again",
        ) from error


def features_file(workspace: Workspace, camera: str) -> Path:
    """Return the path of the ALF file of features, without a revision."""
    return workspace.session.outputs / ALF / f"_ibl_{camera}Camera.features.pqt"


def licks_file(workspace: Workspace) -> Path:
    """Return the path of the ALF file of licks, without a revision."""
    return workspace.session.outputs / ALF / "licks.times.npy"
