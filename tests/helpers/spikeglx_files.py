"""A recording of a NI-DAQ as SpikeGLX writes it, made from fronts and the header of a real one."""

import re

import numpy as np

RATE_HZ = 30003.0003
VOLTS_PER_BIT = 5 / 32768
N_ANALOG = 1
"""Analogue lines that the header says were saved, before the one word of digital lines."""


def write_recording(folder, times_s, channels, polarities, header, duration_s=None, name="_spikeglx_ephysData_g0_t0"):
    """Write `.nidq.bin` and `.nidq.meta`; lines 0 to 15 are digital, 16 is analogue, with an offset that drifts.

    All lines start low. `header` is the `.meta` file of a real recording with one analogue line.
    """
    channels, polarities = np.asarray(channels, np.int64), np.asarray(polarities, np.int64)
    samples = np.rint(np.asarray(times_s) * RATE_HZ).astype(np.int64)
    n_samples = round((duration_s or samples.max() / RATE_HZ + 0.1) * RATE_HZ)
    digital = channels < 16
    steps = np.bincount(samples[digital], polarities[digital] * 2.0 ** channels[digital], minlength=n_samples)
    words = np.cumsum(steps[:n_samples]).astype(np.int64).astype(np.uint16).view(np.int16)
    steps = np.bincount(samples[~digital], polarities[~digital], minlength=n_samples)
    volts = 3.3 * np.cumsum(steps[:n_samples]) + np.linspace(-0.4, 0.4, n_samples)
    content = np.stack([np.rint(volts / VOLTS_PER_BIT).astype(np.int16), words], axis=1)
    path = folder / f"{name}.nidq.bin"
    content.tofile(path)
    text = header.read_text()
    for key, value in (("fileSizeBytes", path.stat().st_size), ("fileTimeSecs", repr(n_samples / RATE_HZ))):
        text, n_changed = re.subn(rf"(?m)^{key}=.*$", f"{key}={value}", text)
        assert n_changed == 1
    path.with_suffix(".meta").write_text(text)
    return path
