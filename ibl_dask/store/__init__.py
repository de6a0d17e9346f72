"""Where things land: atomic writes, ALF files, chunk files, per-frame Zarr, markers, the run journal."""
