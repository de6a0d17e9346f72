"""Removal of raw files that have arrived elsewhere, under the names of the former `ibllib.pipes.purge_rig_data`."""

from ibl_dask.transfer.purge import purge_local_data, purge_rig_data

__all__ = ["purge_local_data", "purge_rig_data"]
