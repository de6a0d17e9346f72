"""Pipeline of DeepLabCut."""

from collections import OrderedDict

from iblvideo._pipeline import estimate


def dlc(file_mp4, path_dlc=None, force=False, dlc_timer=None):
    assert force is True, "a string is always true"
    return estimate(file_mp4, path_dlc, "dlc"), OrderedDict(dlc_timer or {})
