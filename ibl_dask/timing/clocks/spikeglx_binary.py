"""Fronts on the main clock from the SpikeGLX recording of a NI-DAQ, where they were not extracted before.

The file is read with the field's library (ibl-neuropixel), which supports its header and its compressed form, in
batches: memory does not grow with the length of the recording.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import IblDaskError, MissingFile, TruncatedFile, UnusableFile
from ibl_dask.model.text import plain
from ibl_dask.timing.clocks.nidq import Sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    import spikeglx
    from numpy.typing import NDArray

BATCH_S = 100.0
"""Length of a batch, s. The reference's, to which its analogue threshold is tied: 1.2 V above the 10th percentile of
each batch. A batch takes about 350 MB while it is processed."""
SYNC_PULSES = "extract the sync pulses first (SyncPulses)"
_INSTALL = "pip install 'ibl_dask[spikeglx]'"


def read_binary_sync(
    binary: Path, meta: Path | None, channels: Path | None = None, *, batch_s: float = BATCH_S
) -> Sync:
    """Return all fronts of a recording of a NI-DAQ: digital lines are channels 0 to 15, analogue ones follow.

    Parameters
    ----------
    binary : Path
        `*.nidq.bin`, or `*.nidq.cbin`.
    meta : Path or None
        Its header, `*.nidq.meta`; None where there is none.
    channels : Path or None
        The channel file of a `.cbin`, `*.nidq.ch`; by default the one beside it.
    batch_s : float
        Length of a batch, s; see `BATCH_S`.

    Raises
    ------
    MissingFile
        If the header or the channel file is absent, or the library is not installed.
    TruncatedFile
        If the recording is shorter than by its header or its channel file.
    UnusableFile
        If the file cannot be read by its header.
    """
    if meta is None:
        headers = sorted(path.name for path in binary.parent.glob("[!.]*.meta"))
        raise MissingFile(
            "the recording of the sync has no header",
            str(binary.parent),
            f"{binary.stem}.meta beside {binary.name}",
            f"no such file, only that of another recording: {', '.join(headers)}" if headers else "no such file",
            f"copy it from the acquisition computer, or {SYNC_PULSES}",
        )
    if binary.suffix == ".cbin":
        channels = _require_whole(binary, channels or binary.with_suffix(".ch"))
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
        with (
            _under_one_name(binary, meta, channels) as path,
            spikeglx.Reader(path, ignore_warnings=True, open=False) as reader,
        ):
            if binary.suffix == ".bin":
                _require_size(binary, float(reader.meta["fileSizeBytes"]), meta)
            return _fronts(reader, batch_s)
    except IblDaskError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AssertionError, AttributeError, EOFError, zlib.error) as error:
        raise UnusableFile(
            "the recording of the sync cannot be read",
            str(binary),
            f"a SpikeGLX recording as {meta.name} describes it",
            f"{type(error).__name__}: {error}",
            "copy the recording with its .meta (and .ch) again from the acquisition computer",
        ) from error


@contextlib.contextmanager
def _under_one_name(binary: Path, meta: Path, channels: Path | None) -> Iterator[Path]:
    """Yield the recording as a link, with its header and channel file beside it under the same name.

    The library searches for these by the name of the recording, other arguments notwithstanding, and cannot read a
    byte-order mark.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"recording.nidq{binary.suffix}")
        path.symlink_to(binary.resolve())
        for text in filter(None, (meta, channels)):
            path.with_suffix(text.suffix).write_bytes(plain(text.read_bytes()))
        yield path


def _require_whole(binary: Path, channels: Path) -> Path:
    """Return the channel file of a compressed recording; require all chunks whose offsets it has."""
    if not channels.exists():
        raise MissingFile(
            "the compressed recording of the sync has no channel file, without which it cannot be read",
            str(binary.parent),
            f"{binary.stem}.ch beside {binary.name}",
            "no such file",
            f"copy it from where the recording was compressed, or copy the .bin instead, or {SYNC_PULSES}",
        )
    try:
        end = int(json.loads(plain(channels.read_bytes()))["chunk_offsets"][-1])
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise UnusableFile(
            "the channel file of the sync's recording cannot be read",
            str(channels),
            "JSON with the places of all chunks, as mtscomp writes it",
            f"{type(error).__name__}: {error}",
            "copy it again from where the recording was compressed",
        ) from error
    _require_size(binary, end, channels)
    return channels


def _require_size(binary: Path, expected: float, by: Path) -> None:
    """Require a recording of at least the size that its header or channel file gives, bytes."""
    size = binary.stat().st_size
    if 0 < size < expected:
        raise TruncatedFile(
            "the recording of the sync was cut short",
            str(binary),
            f"{int(expected):,} bytes, by {by.name}",
            f"{size:,} bytes",
            f"copy it again from the acquisition computer, or {SYNC_PULSES}; where the original is as short, write its "
            "size and length into the header (fileSizeBytes, fileTimeSecs)",
        )


def _fronts(reader: spikeglx.Reader, batch_s: float) -> Sync:
    """Return changes from sample to sample; the first sample of a batch is compared with the last of the one before."""
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
