"""Engines without a host: the adapter runs in this process, for engines that need no environment of their own."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import EngineFailed
from ibl_dask.pose.declaration import check_frames, check_result, read_declaration
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.engines import adapter_file
from ibl_dask.pose.host.failures import answered_error
from ibl_dask.pose.host.host_main import explained
from ibl_dask.pose.host.weights import stage_weights


class InProcessEngine:
    """An engine whose adapter runs in this process; see `Engine`.

    Parameters
    ----------
    settings : EngineSettings
        The engine; its `python` is not looked at.
    device : str
        `cpu`, `cuda` or `cuda:N`.

    Raises
    ------
    IblDaskError
        If it cannot be loaded.
    """

    def __init__(self, settings: EngineSettings, device: str = "cpu") -> None:
        path = adapter_file(settings.kind)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise EngineFailed("this adapter is no Python file", where=str(path))
        module: Any = importlib.util.module_from_spec(spec)
        weights = stage_weights(settings)
        self._where = f"engine {settings.name}"
        try:
            spec.loader.exec_module(module)
            self._adapter = module.load(
                None if weights is None else str(weights), dict(settings.options), list(settings.keypoints), device
            )
            info = self._adapter.info()
        except Exception as error:
            raise answered_error(explained(error), self._where) from error
        self.info = read_declaration(info, settings)

    def predict(self, frames: NDArray[np.uint8], before: int = 0, after: int = 0) -> NDArray[np.float32]:
        """Predict the keypoints of consecutive frames, all at once; see `Engine.predict`."""
        n_rows = check_frames(frames, before, after, self.info)
        try:
            found = np.asarray(self._adapter.predict(frames, before, after), np.float32)
        except Exception as error:
            raise answered_error(explained(error), self._where) from error
        return check_result(found, n_rows, self.info, self._where)
