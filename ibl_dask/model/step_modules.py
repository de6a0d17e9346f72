"""Names of the modules that steps of chunks import, for workers that import them while the driver still plans."""

STEP_MODULES = (
    "ibl_dask.tasks.run_step",
    "ibl_dask.tasks.index_video",
    "ibl_dask.tasks.video_sync.frame_pass",
    "ibl_dask.video.framepass",
    "av.video.reformatter",
)
"""In the order in which a run needs them. Every worker decodes chunks; the modules of later steps, such as
`scipy.signal` with its 1.4 s, are imported by the one worker of a camera or session that runs them."""
