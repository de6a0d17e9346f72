"""Names of the files that tasks of the field leave, with their classes: for files that nobody made here."""

from __future__ import annotations

import re
from functools import cache

from ibl_dask.store.alf import without_uuid

_TRIALS = ("ChoiceWorldTrialsBpod", "ChoiceWorldTrialsNidq", "ChoiceWorldTrialsTimeline")
_HABITUATION = ("HabituationTrialsBpod", "HabituationTrialsNidq", "HabituationTrialsTimeline")
_PASSIVE = ("PassiveTaskNidq", "PassiveTaskTimeline")
_PHOTOMETRY = ("FibrePhotometryPassiveChoiceWorld", "FibrePhotometryBpodSync", "FibrePhotometryDAQSync")
_TIMES = ("VideoSyncQcNidq", "VideoSyncQcCamlog", "VideoSyncQcBpod")
_COMPRESSED = ("EphysCompressNP1", "EphysCompressNP21", "EphysCompressNP24")
_MESOSCOPE = ("MesoscopePreprocess", "MesoscopeSync", "MesoscopeFOV")
_BEHAVIOUR = r"raw_(?:behavior_data|task_data_\d+)"
_SORTED = "spikes|clusters|templates|channels|waveforms|drift|drift_depths|passingSpikes|_kilosort_\\w+|_phy_\\w+"

_ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"alf/(?:task_\d+/)?_ibl_(?:trials|wheel|wheelMoves)\..+", (*_TRIALS, *_HABITUATION)),
    (r"alf/(?:task_\d+/)?_ibl_passive[A-Za-z]*\..+", _PASSIVE),
    (r"alf/_ibl_\w+Camera\.times\.npy", _TIMES),
    (r"alf/_ibl_\w+Camera\.dlc\.pqt", ("DLC",)),
    (r"alf/_ibl_\w+Camera\.lightningPose\.pqt", ("LightningPose",)),
    (r"alf/(?:\w+Camera\.ROIMotionEnergy|\w+ROIMotionEnergy\.position)\.npy", ("DLC", "LightningPose")),
    (r"alf/(?:_ibl_\w+Camera\.features\.pqt|licks\.times\.npy)", ("EphysPostDLC", "PostLP")),
    (r"raw_video_data/_iblrig_\w+Camera\.raw\.mp4", ("VideoCompress", "VideoConvert")),
    (r"alf/probes\.description\.json", ("EphysRegisterRaw",)),
    (rf"alf/[^/]+/[^/]+/(?:{_SORTED})\..+", ("SpikeSorting",)),
    (r"spike_sorters/.+", ("SpikeSorting",)),
    (r"raw_ephys_data/[^/]+/(?:_spikeglx_sync\..+|.*\.(?:sync|timestamps)\.npy)", ("EphysPulses",)),
    (r"raw_ephys_data/[^/]+/[^/]+\.(?:ap|lf)\.(?:cbin|ch)", _COMPRESSED),
    (r"raw_ephys_data/[^/]+/_iblqc_ephys(?:TimeRmsAP|Saturation)\..+", ("SpikeSorting",)),
    (r"raw_ephys_data/[^/]+/_iblqc_.+", ("RawEphysQC",)),
    (r"raw_(?:ephys|sync)_data/_\w+_sync\..+\.npy", ("SyncPulses", "EphysSyncPulses")),
    (
        r"raw_(?:ephys|sync)_data/(?:[^/]+\.nidq|_\w+_DAQdata\.raw)\.(?:cbin|ch)",
        ("EphysSyncRegisterRaw", "SyncMtscomp"),
    ),
    (rf"{_BEHAVIOUR}/_iblrig_micData\.raw\.flac", ("AudioCompress",)),
    (rf"{_BEHAVIOUR}/_iblmic_audio.+", ("AudioSync",)),
    (r"raw_widefield_data/imaging\.frames\.mov", ("WidefieldCompress",)),
    (r"alf/widefield/(?:imaging|imagingLightSource)\..+", ("WidefieldSync",)),
    (r"alf/widefield/widefield(?:Channels|U|SVT)\..+", ("WidefieldPreprocess",)),
    (r"alf/widefield/widefieldLandmarks\..+", ("WidefieldRegisterRaw",)),
    (r"alf/photometry/photometry\w*\..+", _PHOTOMETRY),
    (r"alf/FOV_\d+/.+", _MESOSCOPE),
)
"""Pattern of a path in the session -> classes; after the signatures of ibllib 4.1.0. The first that fits counts."""


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    return tuple((re.compile(pattern), classes) for pattern, classes in _ROWS)


def usual_makers(name: str) -> tuple[str, ...]:
    """Return the classes of the field that leave a file of a session; none for raw data and unknown names.

    Parameters
    ----------
    name : str
        Path relative to the session; a revision and a dataset UUID in it do not count.

    >>> usual_makers("alf/#2024-01-01#/_ibl_leftCamera.dlc.pqt")
    ('DLC',)
    """
    folder, _, last = re.sub(r"#[^/#]*#/", "", name).rpartition("/")
    plain = f"{folder}/{without_uuid(last)}" if folder else without_uuid(last)
    return next((classes for pattern, classes in _compiled() if pattern.fullmatch(plain)), ())
