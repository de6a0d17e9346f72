"""Fronts on the main clock straight from the SpikeGLX recording of a NI-DAQ, where nobody extracted them yet.

The file is read with the field's library (ibl-neuropixel), which knows its header and its compressed form, and in
batches, so that hours of recording need no more memory than minutes.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingFile, UnusableFile
from ibl_dask.timing.nidq import Sync

if TYPE_CHECKING:
    from pathlib import Path

    import spikeglx
    from numpy.typing import NDArray

BATCH_S = 100.0
"""Time that is looked at in one piece, s. The reference's choice, to which its analogue threshold is tied: 1.2 V above
the 10th percentile of each batch. A batch takes about 350 MB while it is looked at."""
SYNC_PULSES = "extract the sync pulses first (SyncPulses)"
_INSTALL = "pip install 'ibl_dask[spikeglx]'"


def read_binary_sync(binary: Path, meta: Path | None, *, batch_s: float = BATCH_S) -> Sync:
    """Return all fronts of a recording of a NI-DAQ: digital lines are channels 0 to 15, analogue ones follow.

    Parameters
    ----------
    binary : Path
        `*.nidq.bin`, or `*.nidq.cbin` with its `.ch` beside it.
    meta : Path or None
        Its header, `*.nidq.meta`; None where there is none.
    batch_s : float
        See `BATCH_S`.

    Raises
    ------
    MissingFile
        If the header is absent, or the library is not installed.
    UnusableFile
        If the file cannot be read by its header.
    """
    if meta is None:
        raise MissingFile(
            "the recording of the sync has no header",
            str(binary.parent),
            f"{binary.stem}.meta beside {binary.name}",
            "no such file",
            f"copy it from the acquisition computer, or {SYNC_PULSES}",
        )
    if find_spec("spikeglx") is None:
        raise MissingFile(
            "the fronts of the sync were not extracted, and the library that could do so is not installed",
            str(binary),
            "_spikeglx_sync.times.npy, .channels.npy and .polarities.npy, or the library ibl-neuropixel",
            "neither",
            f"{SYNC_PULSES}, or install the library: {_INSTALL}",
        )
    import spikeglx  # costs a second, and is not always there

    try:
        with spikeglx.Reader(binary, meta_file=meta, ignore_warnings=True) as reader:
            return _fronts(reader, batch_s)
    except (ValueError, TypeError, KeyError, IndexError, AssertionError, AttributeError, EOFError) as error:
        raise UnusableFile(
            "the recording of the sync cannot be read",
            str(binary),
            f"a SpikeGLX recording as {meta.name} describes it",
            f"{type(error).__name__}: {error}",
            "copy the recording with its .meta (and .ch) again from the acquisition computer",
        ) from error


def _fronts(reader: spikeglx.Reader, batch_s: float) -> Sync:
    """Look for changes from sample to sample; the first sample of a batch is compared with the last one before it."""
    n_samples, rate = int(reader.ns), float(reader.fs)
    size = max(round(batch_s * rate), 2)
    pieces: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]] = []
    before: NDArray[np.int8] | None = None
    for start in range(0, n_samples, size):
        lines = np.asarray(reader.read_sync(slice(start, min(start + size, n_samples))), np.int8)
        changes = np.diff(lines, axis=0, prepend=lines[:1] if before is None else before)
        sample, line = np.nonzero(changes)
        pieces.append((sample + start, line, changes[sample, line]))
        before = lines[-1:].copy()
    if not pieces:
        raise ValueError("it holds no sample")
    samples, channels, polarities = (np.concatenate(part) for part in zip(*pieces, strict=True))
    return Sync(samples / rate, channels.astype(np.int64), polarities)
