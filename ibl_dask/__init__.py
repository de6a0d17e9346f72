"""Video preprocessing of International Brain Laboratory sessions as Dask graphs of keyframe-aligned chunks."""

__version__ = "0.1.0"
