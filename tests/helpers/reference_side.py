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
import reference_pose

CALLS = {**reference_pose.CALLS}


def call(function):
    CALLS[function.__name__] = function
    return function


FULL_ALIGNMENT = []
"""The reference's alignment of a whole session, which `NoWheel` takes the place of."""


class NoWheel:
    """A fake: the reference's wheel route, which wants to log in to a database, always fails here."""

    def __init__(self, *_, **__):
        raise RuntimeError("the wheel route is left out")


def load_reference():
    import ibllib.io.extractors.video_motion as motion

    FULL_ALIGNMENT.append(motion.MotionAlignmentFullSession)
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
def timeline_times(session, label, n_frames=None):
    """Times on the clock of a Timeline; frames are counted by the reference unless given."""
    from ibllib.io.extractors.camera import CameraTimestampsFPGA

    sync, chmap = timeline_sync(session)
    times, _ = CameraTimestampsFPGA(label, session).extract(sync=sync, chmap=chmap, video_path=n_frames)
    return {"times": times}


@call
def camlog_times(session, label):
    """Times of a camera with a log, on the clock of a nidq."""
    from ibllib.io.extractors.camera import CameraTimestampsCamlog
    from ibllib.io.extractors.ephys_fpga import CHMAPS

    folder = Path(session) / "raw_sync_data"
    sync = {part: np.load(folder / f"_spikeglx_sync.{part}.npy") for part in ("times", "channels", "polarities")}
    times, _ = CameraTimestampsCamlog(label, Path(session)).extract(sync=sync, chmap=CHMAPS["3B"]["nidq"])
    return {"times": times}


def timeline_sync(session):
    from ibllib.io.raw_daq_loaders import load_timeline_sync_and_chmap

    return load_timeline_sync_and_chmap(Path(session) / "raw_sync_data", save=False)


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


# -- the wheel -----------------------------------------------------------------------------------------------------


def full_alignment(session, label, sync):
    """The alignment of a whole session, as it reads its data; nothing of it uses the network."""
    return FULL_ALIGNMENT[0](Path(session), label, sync=sync, upload=False, nprocess=1)


@call
def wheel_data(session, label, sync):
    """What the alignment reads: how many more pulses than frames there are."""
    full = full_alignment(session, label, sync)
    return {"n_surplus": int(full.tdiff), "n_pulses": int(full.ttls.size)}


@call
def wheel_fallback(session, label, sync):
    """How frame times fall back to the wheel, and the times that come of it.

    A fake is between the two: it notes what the alignment is asked for, and keeps it from the network.
    """
    import ibllib.io.extractors.video_motion as motion

    asked = []

    class Watched(FULL_ALIGNMENT[0]):
        def __init__(self, *arguments, **options):
            asked.append(dict(options))
            super().__init__(*arguments, **{**options, "upload": False, "nprocess": 1})

    motion.MotionAlignmentFullSession = Watched
    try:
        times = {"nidq": daq_times, "timeline": timeline_times}[sync](session, label)["times"]
    finally:
        motion.MotionAlignmentFullSession = NoWheel
    return {"times": times, "asked": asked}


@call
def wheel_energies(session, label, height, width):
    """Motion energy of a whole session, all pixels of its small frames, and what became of the alignment."""
    full = full_alignment(session, label, "nidq")
    full.mask = np.s_[0:height, 0:width, 0]
    try:
        full.process()
    except Exception as error:  # noqa: BLE001
        failure = told(error)
    else:
        failure = None
    return {"energies": full.all_me, "failure": failure}


@call
def wheel_energy(video, n_frames, window, number, height, width):
    """Motion energy of one window of a video, all pixels, and which frames it asked for."""
    import ibllib.io.video as vidio
    from ibldsp.utils import WindowGenerator

    full = FULL_ALIGNMENT[0].__new__(FULL_ALIGNMENT[0])
    full.camera_path, full.mask, full.threshold = video, np.s_[0:height, 0:width, 0], 20
    windows = WindowGenerator(n_frames, window, 4)
    first, last = list(windows.firstlast)[number]
    asked, load = [], vidio.get_video_frames_preload

    def watched(vid, frame_numbers, **options):
        asked.append([int(frame_numbers[0]), int(frame_numbers[-1])])
        return load(vid, frame_numbers, quiet=True, **options)

    vidio.get_video_frames_preload = watched
    out = {"asked": asked, "first": int(first), "last": int(last)}
    try:
        out["energy"] = full.compute_motion_energy(first, last, WindowGenerator(n_frames, window, 4), number)
    except Exception as error:  # noqa: BLE001
        out["failure"] = told(error)
    finally:
        vidio.get_video_frames_preload = load
    return out


@call
def motion_energy(frames):
    """Motion energy of some frames, summed over pixels."""
    from brainbox.video import motion_energy as energy

    return {"energy": energy(frames, 2, normalize=False)[0]}


@call
def counter(raw):
    """A counter of 32 bits without its turns."""
    from ibllib.io.raw_daq_loaders import correct_counter_discontinuities

    return {"counts": correct_counter_discontinuities(raw)}


@call
def timeline_wheel(session):
    """Times and angles of the wheel of a Timeline, from its samples."""
    import one.alf.io as alfio
    from ibllib.io.extractors.mesoscope import TimelineTrials

    extractor = TimelineTrials.__new__(TimelineTrials)
    folder = Path(session) / "raw_sync_data"
    extractor.timeline = alfio.load_object(folder, "DAQdata", namespace="timeline", short_keys=True)
    times, position = extractor.extract_wheel_sync()
    return {"times": times, "position": position}


@call
def timeline_fronts(session):
    """Fronts of the wheel's channel, from the samples of a Timeline."""
    sync, chmap = timeline_sync(session)
    chosen = sync["channels"] == chmap["rotary_encoder"]
    return {part: sync[part][chosen] for part in ("times", "polarities")}


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


def plain_log(path):
    """A fake: reads a plain camlog as `labcams.parse_cam_log` does, which is not among the reference's requirements."""
    import pandas as pd

    return pd.read_csv(path, comment="#", header=None, usecols=[0, 1], names=["frame_id", "timestamp"]), {}


@call
def session_checks(session, label, names, has_log=False):
    """Outcomes of some checks of a whole session, of which the reference loads what it needs itself."""
    import ibllib.qc.camera as camera
    from iblutil.util import Bunch
    from one.alf import spec

    camera.parse_cam_log = plain_log
    kind = camera.CameraQCCamlog if has_log else camera.CameraQC
    qc = kind.__new__(kind)
    qc.session_path, qc.label, qc.n_samples = Path(session), label, 100
    qc.one = qc.sync = qc.sync_collection = qc.protocol = qc.stream = qc._type = None
    qc.video_path = next((qc.session_path / "raw_video_data").glob(f"_iblrig_{label}Camera.raw*.mp4"))
    keys = ("count", "pin_state", "audio", "fpga_times", "wheel", "video", "frame_samples", "timestamps")
    qc.data = Bunch.fromkeys((*keys, "camera_times", "bonsai_times"))
    qc.load_data()
    out = {}
    for name in names:
        result = getattr(qc, f"check_{name}")()
        result = result if isinstance(result, tuple) else (result,)
        out[name] = [r.name if isinstance(r, spec.QC) else np.asarray(r).item() for r in result]
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


# -- tasks of a session ----------------------------------------------------------------------------------------------


@call
def plan(session):
    """The tasks of a session as plain data, without a database."""
    from ibllib.pipes.dynamic_pipeline import make_pipeline

    pipeline = make_pipeline(Path(session), one=None)
    return {"specs": [spec.to_dict() for spec in pipeline.task_specs()], "errors": pipeline.planner_errors}


@call
def plan_with(session, planner, folder):
    """The tasks of a session, with a planner of mpci in this environment."""
    package = Path(folder) / "mpci" / "alyx"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "pipeline.py").write_text(planner)
    sys.path.insert(0, folder)
    try:
        return plan(session)
    finally:
        sys.path.remove(folder)
        for name in [name for name in sys.modules if name.split(".")[0] == "mpci"]:
            del sys.modules[name]


@call
def write_plan(session):
    """Write `pipeline_tasks.yaml`."""
    from ibllib.pipes.dynamic_pipeline import make_pipeline, make_pipeline_dict

    return {"rows": make_pipeline_dict(make_pipeline(Path(session), one=None))}


@call
def read_plan(session):
    """Read `pipeline_tasks.yaml` and build every task of it."""
    from ibllib.pipes.dynamic_pipeline import load_pipeline_dict
    from ibllib.pipes.spec import TaskSpec, sort_specs

    specs = sort_specs(TaskSpec.from_dict(row) for row in load_pipeline_dict(session))
    built = [type(spec.instantiate(Path(session), one=None)).__name__ for spec in specs]
    return {"specs": [spec.to_dict() for spec in specs], "built": built}


@call
def task_classes():
    """What every class of the pipelines says that it occupies."""
    import importlib
    import inspect

    from ibllib.pipes.tasks import Task

    found = {}
    names = ("base", "behavior", "sync", "ephys", "audio", "widefield", "video")
    for module in [*(f"ibllib.pipes.{name}_tasks" for name in names), "iblphotometry.tasks"]:
        for name, cls in vars(importlib.import_module(module)).items():
            if inspect.isclass(cls) and issubclass(cls, Task) and cls.__module__ == module:
                fields = ("priority", "cpu", "gpu", "ram", "io_charge", "time_out_secs", "job_size", "env")
                found[f"{module}.{name}"] = {field: getattr(cls, field) for field in fields}
    return found


@call
def merge(first, second):
    """Two descriptions together."""
    from ibllib.io.session_params import merge_params

    return {"merged": merge_params(first, second, copy=True)}


@call
def legacy(protocol):
    """The description that a protocol stands for."""
    from ibllib.pipes.dynamic_pipeline import get_acquisition_description

    return {"content": get_acquisition_description(protocol)}


# -- signatures and tasks ------------------------------------------------------------------------------------------


def expected_dataset(node):
    """Build an expression of datasets from nested lists."""
    from ibllib.oneibl.data_handlers import ExpectedDataset

    if node[0] == "not":
        return ~expected_dataset(node[1])
    if node[0] in ("and", "or", "xor"):
        left, right = map(expected_dataset, node[1:])
        return {"and": lambda: left & right, "or": lambda: left | right, "xor": lambda: left ^ right}[node[0]]()
    name, collection, required, register, revision = node[1:]
    build = ExpectedDataset.output if node[0] == "output" else ExpectedDataset.input
    return build(name, collection, required, register, revision=revision)


@call
def find_datasets(cases):
    """Look for expressions, each in a folder of its own, with and without what is not to be registered.

    The answer is a message where there can be no such expression.
    """
    found = []
    for root, node in cases:
        try:
            expected = expected_dataset(node)
        except TypeError as error:
            found.append(str(error))
            continue
        answers = []
        for register in (False, True):
            ok, files, missing = expected.find_files(root, register=register)
            names = sorted(path.relative_to(root).as_posix() for path in files)
            lacking = [missing] if isinstance(missing, str) else sorted(missing or ())
            answers.append([bool(ok), names, lacking])
        found.append(answers)
    return {"found": found}


@call
def task_signature(name, session, arguments):
    """Return what a video task reads and writes: name, collection, and whether it is required."""
    from ibllib.pipes import video_tasks

    task = getattr(video_tasks, name)(session, **arguments)
    return {
        part: [[str(entry[0]), str(entry[1]), bool(entry[2])] for entry in task.signature[part]]
        for part in ("input_files", "output_files")
    }


def plain(value):
    """A value as JSON holds it: what JSON has no word for as text."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return repr(value)


def parameters_of(function):
    import inspect

    found = list(inspect.signature(function).parameters.values())
    return [[p.name, p.kind.name, plain(None if p.default is p.empty else p.default)] for p in found]


@call
def misc_names():
    """The functions of its miscellany, with their parameters."""
    import inspect

    from ibllib.pipes import misc

    functions = inspect.getmembers(misc, inspect.isfunction)
    own = {name: value for name, value in functions if value.__module__ == misc.__name__}
    return {"functions": {name: list(inspect.signature(value).parameters) for name, value in own.items()}}


@call
def ephys_names(session):
    """What its renaming and moving of probe files leaves of a session: files and their content."""
    from ibllib.pipes import misc

    misc.rename_ephys_files(session)
    misc.move_ephys_files(session)
    session = Path(session)
    return {"files": {str(p.relative_to(session)): p.read_text() for p in session.rglob("*") if p.is_file()}}


@call
def public_names(session):
    """Every public class of the video and base tasks: attributes, methods with their parameters, and what an instance
    has beside.
    """
    import inspect

    from ibllib.pipes import base_tasks, video_tasks
    from ibllib.pipes.tasks import Task

    found = {}
    for module in (base_tasks, video_tasks):
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            assert inspect.isclass(value), f"{name} is a function, which nobody compares"
            attributes, methods = {}, {"__init__": parameters_of(value.__init__)}
            for each in sorted(dir(value)):
                held = inspect.getattr_static(value, each)
                if each.startswith("_"):
                    continue
                if callable(getattr(value, each, None)) and not isinstance(held, property):
                    methods[each] = parameters_of(getattr(value, each))
                else:
                    attributes[each] = None if isinstance(held, property) else plain(held)
            given = {"cameras": ["left"]} if issubclass(value, base_tasks.VideoTask) else {}
            whole = type(name, (value,), {"_run": lambda self: None})  # some are abstract
            made = vars(whole(Path(session), one=None, **given))
            instance = {key: plain(made[key]) for key in made if not key.startswith("_")}
            found[name] = {"attributes": attributes, "methods": methods, "instance": instance}
            found[name]["is_task"] = issubclass(value, Task)
    return {"classes": found}


@call
def assign(name, session, arguments):
    """Put a task into a deck, of a session that may not be there."""
    from ibllib.pipes import assign_task, video_tasks

    deck = {}
    assign_task(deck, Path(session), getattr(video_tasks, name), **arguments)
    return {"names": list(deck), "cameras": list(deck[name].cameras)}


@call
def run_task(executable, session, arguments, given=None, path=None):
    """Run a task of the reference on files alone, with programs of a folder of their own."""
    import importlib

    module, name = executable.rsplit(".", 1)
    usual = os.environ["PATH"]
    os.environ["PATH"] = os.pathsep.join([*([] if path is None else [path]), usual])
    try:
        task = getattr(importlib.import_module(module), name)(Path(session), one=None, location="local", **arguments)
        status = task.run(**(given or {}))
    finally:
        os.environ["PATH"] = usual
    return {"status": status, "outputs": [str(path) for path in task.outputs or ()], "log": task.log}


@call
def write_tdms(path, rate, volts, bits):
    """Write samples of one analogue line and of the digital ones, as the software of a DAQ does."""
    from nptdms import ChannelObject, GroupObject, TdmsWriter

    with TdmsWriter(path) as writer:
        for group, channel, samples in (("Analog", "AI7", volts), ("Digital", "Digital", bits)):
            writer.write_segment(
                [GroupObject(group, properties={"ScanRate": float(rate)}), ChannelObject(group, channel, samples)]
            )
    return {}


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
