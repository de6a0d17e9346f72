"""Names of the modules that steps import, for workers that import them while the driver still plans."""

STEP_MODULES = (
    "ibl_dask.tasks.run_step",
    "ibl_dask.tasks.index_video",
    "ibl_dask.tasks.video_sync.frame_pass",
    "ibl_dask.video.framepass",
    "av.video.reformatter",
    "ibl_dask.tasks.video_sync.pulse_times",
    "ibl_dask.tasks.video_sync.wheel_times",
    "scipy.signal",
    "ibl_dask.tasks.video_sync.camera_qc",
    "zarr",
    "ibl_dask.tasks.session_report",
    "ibl_dask.report.html",
)
"""In the order in which a run needs them."""
