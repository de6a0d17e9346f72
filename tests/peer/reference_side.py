"""What the reference answers: it runs in an environment of its own, and answers one question per line of its input.

A question is `{"call": ..., "values": {...}, "arrays": file or null, "answer": file}`; the answer is one line of JSON,
its arrays are in the file named. Nothing here judges: `reference.py` asks, and the tests compare.
"""

import json
import logging
import os
import sys
from pathlib import Path

import numpy as np

CALLS = {}


def call(function):
    CALLS[function.__name__] = function
    return function


class NoWheel:
    """A fake: the reference's wheel route, which wants to log in to a database, always fails here."""

    def __init__(self, *_, **__):
        raise RuntimeError("the wheel route is left out")


def load_reference():
    import ibllib.io.extractors.video_motion as motion

    motion.MotionAlignmentFullSession = NoWheel


# -- frame times ---------------------------------------------------------------------------------------------------


@call
def daq_times(session, label, n_frames=None):
    """Times on the clock of a nidq; frames are counted by the reference unless given."""
    from ibllib.io.extractors.camera import CameraTimestampsFPGA
    from ibllib.io.extractors.ephys_fpga import CHMAPS

    folder = Path(session) / "raw_ephys_data"
    sync = {part: np.load(folder / f"_spikeglx_sync.{part}.npy") for part in ("times", "channels", "polarities")}
    extractor = CameraTimestampsFPGA(label, session)
    times, _ = extractor.extract(sync=sync, chmap=CHMAPS["3B"]["nidq"], video_path=n_frames)
    return {"times": times}


@call
def bpod_times(session, n_frames=None):
    """Times on the clock of a Bpod, and the pulses that they are made of."""
    from ibllib.io.extractors.camera import CameraTimestampsBpod

    extractor = CameraTimestampsBpod(session)
    times, _ = extractor.extract(video_path=n_frames, task_collection="raw_behavior_data")
    return {"times": times, "pulses": extractor._times_from_bpod()}


@call
def bpod_fronts(session):
    """Rises and falls of the sound's TTL."""
    from ibllib.io.raw_data_loaders import load_bpod_fronts

    _, fronts = load_bpod_fronts(session, task_collection="raw_behavior_data")
    return {"times": fronts["times"], "polarities": fronts["polarities"]}


@call
def channel_maps():
    from ibllib.io.extractors.default_channel_maps import DEFAULT_MAPS

    return {"default": DEFAULT_MAPS}


# -- camera files --------------------------------------------------------------------------------------------------


@call
def camera_files(session, label):
    """Clocks, frame counter and pins; a part that cannot be read says why instead."""
    import ibllib.io.raw_data_loaders as raw

    out = {}
    try:
        pc, out["camera_clock"] = raw.load_camera_ssv_times(session, label)
        out["pc_clock"] = pc if pc.dtype.kind == "f" else (pc - pc[0]) / np.timedelta64(1, "s")
    except Exception as error:  # noqa: BLE001  (whatever the reference raises is its answer)
        out["clock_error"] = told(error)
    for name, load in (("count", raw.load_camera_frame_count), ("pins", raw.load_camera_gpio)):
        try:
            loaded = load(session, label, **({"raw": False} if name == "count" else {}))
        except Exception as error:  # noqa: BLE001
            out[f"{name}_error"] = told(error)
        else:
            out[name] = loaded
    return out


# -- video ---------------------------------------------------------------------------------------------------------


@call
def video_meta(video):
    from ibllib.io.video import get_video_meta

    meta = get_video_meta(video)
    return {"length": meta.length, "fps": meta.fps, "width": meta.width, "height": meta.height}


@call
def video_frames(video, first, stop):
    """A run of frames, as the checks read them."""
    from ibllib.io.video import get_video_frames_preload

    return {"frames": get_video_frames_preload(video, range(first, stop), mask=np.s_[:, :, 0], quiet=True)}


@call
def video_frame(video, number):
    """One frame, as the figures read it."""
    from ibllib.io.video import get_video_frame

    frame = get_video_frame(video, number)
    return {"frame": None if frame is None else frame[:, :, 0]}


# -- checks --------------------------------------------------------------------------------------------------------


@call
def checks(label, kind, names, n_samples=100, video=None, **data):
    """Outcomes of some checks, given the data that they look at."""
    from ibllib.qc.camera import CameraQC
    from iblutil.util import Bunch
    from one.alf import spec

    qc = CameraQC.__new__(CameraQC)
    qc.label, qc._type, qc.n_samples = label, kind, n_samples
    keys = ("count", "pin_state", "audio", "timestamps", "frame_samples", "bonsai_times", "camera_times")
    qc.data = Bunch({key: data.get(key) for key in keys}, video=None if video is None else Bunch(video))
    out = {}
    for name in names:
        result = getattr(qc, f"check_{name}")()
        result = result if isinstance(result, tuple) else (result,)
        out[name] = [r.name if isinstance(r, spec.QC) else r for r in result]
    return out


@call
def run_checks(label, **data):
    """The overall outcome of a camera."""
    from ibllib.qc.camera import CameraQC
    from iblutil.util import Bunch

    qc = CameraQC.__new__(CameraQC)
    qc.label, qc._type, qc.session_path, qc.eid = label, "ephys", None, ""
    qc.data = Bunch(dict.fromkeys(("frame_samples", "timestamps")), **data)
    outcome, metrics = qc.run(update=False)
    return {"outcome": outcome.name, "n_checks": len(metrics)}


# -- asking and answering ------------------------------------------------------------------------------------------


def told(error):
    return f"{type(error).__name__}: {error}"


class Listener(logging.Handler):
    """Keeps what the reference logs."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(f"{record.levelname}: {record.getMessage()}")


def answer(question, listener):
    values = dict(question["values"])
    if question["arrays"]:
        with np.load(question["arrays"]) as arrays:
            values.update({name: arrays[name] for name in arrays.files})
    listener.lines.clear()
    found, error = {}, None
    try:
        found = CALLS[question["call"]](**values)
    except Exception as raised:  # noqa: BLE001
        error = told(raised)
    np.savez(question["answer"], **{name: value for name, value in found.items() if isinstance(value, np.ndarray)})
    facts = {name: value for name, value in found.items() if not isinstance(value, np.ndarray)}
    return {"facts": facts, "error": error, "log": list(listener.lines)}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the reference prints
    load_reference()
    listener = Listener()
    for name in (None, "ibllib"):
        logging.getLogger(name).addHandler(listener)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line), listener)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
