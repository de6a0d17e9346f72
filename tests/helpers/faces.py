"""Matches of a face, as the frame pass of a left camera would leave them."""

import numpy as np

from ibl_dask.qc.evidence import FaceEvidence


def make_face(x=138, y=45, correlation=0.9, is_sharp=1):
    """Return matches of 100 samples; x and y are one place or one per sample, px."""
    return FaceEvidence(
        left=138,
        top=45,
        x=np.full(100, x, float),
        y=np.full(100, y, float),
        score=np.full(100, 0.9),
        histogram_correlation=np.full(100, correlation),
        laplacian=np.full(20, 101.0 if is_sharp else 99.0),
        is_sharp=np.full(20, float(is_sharp)),
    )
