"""Export of a network to ONNX, by a process in the environment of its engine."""

from __future__ import annotations

from pathlib import Path

from ibl_dask.errors import UsageError
from ibl_dask.pose.engine import ENGINE_KINDS, EngineSettings
from ibl_dask.pose.engines import adapter_file, exporter_file
from ibl_dask.pose.host.failures import crash_error
from ibl_dask.pose.host.process import HostDied, HostProcess
from ibl_dask.pose.host.weights import stage_weights


def export_onnx(settings: EngineSettings, weights_folder: Path | None = None) -> bytes:
    """Return the network of an engine as the content of a file in ONNX, which describes itself.

    Parameters
    ----------
    settings : EngineSettings
        The engine.
    weights_folder : Path, optional
        Folder for copies of weights on this node.

    Raises
    ------
    UsageError
        If there is no export of engines of this kind.
    MissingEnvironment, WrongWeights, EngineFailed, EngineCrashed, OutOfMemory, TaskTimedOut
        If the network cannot be exported.
    """
    if not exporter_file(settings.kind).is_file():
        raise UsageError(
            f"engine {settings.name} cannot be exported",
            where=f"engine {settings.name}",
            expected=f"an engine of kind {' or '.join(kind for kind in ENGINE_KINDS if exporter_file(kind).is_file())}",
            got=f"kind {settings.kind}",
            do="name another entry of `engines:` in the site profile",
        )
    weights = stage_weights(settings, weights_folder)
    where = f"engine {settings.name} ({settings.weights})"
    process = HostProcess(settings.python, start_s=settings.start_s, folders=())
    request = {
        "do": "export",
        "adapter": str(adapter_file(settings.kind)),
        "exporter": str(exporter_file(settings.kind)),
        "weights": None if weights is None else str(weights),
        "options": dict(settings.options),
    }
    try:
        _, content = process.ask(request, timeout_s=settings.start_s, where=where)
    except HostDied as died:
        raise crash_error(died.code, where, process.tail) from died
    finally:
        process.end()
    return content
