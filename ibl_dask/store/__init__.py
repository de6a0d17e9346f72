"""Files of a session: atomic writes, ALF files, arrays, per-frame Zarr, markers, the run journal, the session lock."""
