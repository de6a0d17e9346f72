"""The wheel in a run: it checks times that pins tell, and repairs those that only numbers tell."""

import json
import shutil

import numpy as np
import pytest
import yaml

import ibl_dask as ibd
from ibl_dask.model.events import StepFinished
from ibl_dask.pipeline.run import run
from ibl_dask.synth import (
    MesoscopeFaults,
    TrainingFaults,
    write_mesoscope_session,
    write_session,
    write_training_session,
)
from ibl_dask.synth.plan import CameraFaults
from ibl_dask.synth.truth import Truth
from ibl_dask.synth.wheel import simulate_behaviour
from ibl_dask.tasks.video_sync.pulse_times import load_timing
from ibl_dask.video.reducers.brightness import Brightness
from ibl_dask.video.reducers.camera_set import camera_reducers

SESSION = "lab/Subjects/WH_001/2023-07-01/001"
SURPLUS_S = 0.5
SEED = 7  # its wheel has a bout of over 3 s
SMALL_CHUNKS = 200 * 256 * 204


def describe(folder, change):
    """Change what the description says of the left camera."""
    path = folder / "_ibl_experiment.description.yaml"
    content = yaml.safe_load(path.read_text())
    change(content["devices"]["cameras"]["left"])
    path.write_text(yaml.safe_dump(content))


def forget_pins(folder):
    """Say that no line is wired to the camera's pin."""
    describe(folder, lambda left: left.update(sync_label=None))


@pytest.fixture(scope="module")
def _made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel") / SESSION
    write_session(
        folder, duration_s=20, cameras=("left",), scale=0.2, seed=SEED, surplus_end_s=SURPLUS_S, gop=100, workers=1
    )
    forget_pins(folder)
    shutil.rmtree(folder / "alf")
    return folder


@pytest.fixture
def session(_made, tmp_path):
    """Return a session of 20 s without pins, whose surplus pulses come after the video."""
    folder = tmp_path / SESSION
    shutil.copytree(_made, folder)
    return folder


@pytest.fixture(scope="module")
def repaired(_made, tmp_path_factory):
    """Return the folder of everything that a run leaves of that session, and how the run went."""
    folder = tmp_path_factory.mktemp("repaired") / SESSION
    shutil.copytree(_made, folder)
    result = run([folder])
    assert result.exit_code == 0, [f.message for f in result.sessions[0].failures]
    return folder, result


def frames_off(folder, truth, label="left"):
    """Return by how many frames each published time is off."""
    times = np.load(folder / "alf" / f"_ibl_{label}Camera.times.npy")
    camera = truth.cameras[label]
    return (times - camera.frame_times_s) * camera.fps


def timing_of(folder, label="left"):
    return load_timing(folder / "ibl_dask" / f"{label}Camera-timing.npz")


def check_of(folder, label="left"):
    return json.loads((folder / "ibl_dask" / "qc.json").read_text())["cameras"][label]["checks"]


def outputs(folder):
    """Return every byte that a run leaves beside a session, but for what names the folder or when it ran."""
    told = {"report.html", "provenance.json", "lock.json", "last_run.json"}
    found = [*(folder / "alf").rglob("*"), *(folder / "ibl_dask").rglob("*")]
    files = [p for p in found if p.is_file() and p.name not in told and not {"done", "logs"} & {*p.parts}]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def statuses(result, kind):
    return [r.status for r in result.sessions[0].records.values() if r.key[0].split("-")[0] == kind]


def test_surplus_pulses_after_the_video_are_put_right_to_within_a_frame(repaired):
    """By numbers alone every frame would be half a second late."""
    folder, _ = repaired
    truth = Truth.read(folder)
    assert truth.cameras["left"].n_surplus_end == round(SURPLUS_S * 60)
    assert np.abs(frames_off(folder, truth)).max() <= 1.01
    details, facts = timing_of(folder)
    assert facts["method"] == "wheel"
    assert facts["hint"] == "WARNING"
    assert facts["n_surplus_end"] >= 28
    # They are still times of pulses: none is measured less for being another's.
    pulses = truth.cameras["left"].recorded_pulse_times_s
    times = np.load(folder / "alf" / "_ibl_leftCamera.times.npy")
    measured = details["quality"] == 0
    assert np.isin(np.round(times[measured], 6), np.round(pulses, 6)).all()
    assert measured.sum() >= times.size - 1
    assert any("moved by the wheel" in note for note in facts["notes"])


def test_the_check_is_of_the_times_that_are_published(repaired):
    folder, _ = repaired
    record = json.loads((folder / "ibl_dask" / "qc.json").read_text())
    outcome, offset = record["extended_qc"]["_videoLeft_wheel_alignment"]
    assert outcome == "PASS"
    assert abs(offset) <= 1
    assert "confidence" in record["cameras"]["left"]["checks"]["wheel_alignment"]["measured"]


def test_the_store_has_the_times_that_are_published(repaired):
    import xarray as xr

    folder, _ = repaired
    with xr.open_zarr(folder / "ibl_dask" / "leftCamera-frames.zarr") as dataset:
        np.testing.assert_array_equal(dataset.time, np.load(folder / "alf" / "_ibl_leftCamera.times.npy"))
        np.testing.assert_array_equal(dataset.time_quality, timing_of(folder)[0]["quality"])


def test_running_again_computes_nothing(repaired, tmp_path):
    folder = tmp_path / SESSION
    shutil.copytree(repaired[0], folder, copy_function=shutil.copy2)
    before = outputs(folder)
    again = run([folder])
    assert statuses(again, "times") == statuses(again, "wheel") == statuses(again, "frames") == ["kept"]
    assert statuses(again, "framepass") == []
    assert outputs(folder) == before


@pytest.mark.parametrize("kind", ["index", "times", "framepass", "wheel", "frames", "qc"])
def test_a_run_stopped_after_any_step_ends_the_same_when_run_again(session, repaired, kind):
    class Stop:
        def __call__(self, event):
            if isinstance(event, StepFinished) and event.record.key[0].split("-")[0] == kind:
                raise KeyboardInterrupt

    assert run([session], listeners=[Stop()], chunk_pixels=SMALL_CHUNKS).interrupted
    assert run([session], chunk_pixels=SMALL_CHUNKS).exit_code == 0
    assert outputs(session) == outputs(repaired[0])


@pytest.mark.parametrize("name", ["leftCamera-pulse_times.npz", "done/wheel-left.json", "leftCamera-timing.npz"])
def test_what_is_lost_of_the_times_is_made_again(repaired, tmp_path, name):
    folder = tmp_path / SESSION
    shutil.copytree(repaired[0], folder, copy_function=shutil.copy2)
    before = outputs(folder)
    (folder / "ibl_dask" / name).unlink()
    again = run([folder])
    assert again.exit_code == 0
    assert statuses(again, "framepass") == []
    assert outputs(folder) == before


def edit_sync(folder, keep):
    """Keep some fronts of the sync, told by their channels and times."""
    sync = folder / "raw_ephys_data"
    chosen = keep(*(np.load(sync / f"_spikeglx_sync.{part}.npy") for part in ("channels", "times")))
    for path in sync.glob("_spikeglx_sync.*.npy"):
        np.save(path, np.load(path)[chosen])


def test_7_3_as_many_pulses_as_frames_are_no_obstacle(session):
    """The reference's alignment dies of just that."""
    truth = Truth.read(session)
    last = truth.cameras["left"].frame_times_s[-1] + 0.5 / 60
    edit_sync(session, lambda channels, times: (channels != 0) | (times < last))
    assert run([session]).exit_code == 0
    _, facts = timing_of(session)
    assert facts["method"] == "counts"
    assert facts["wheel"]["is_confident"]
    assert any("the wheel confirms" in note for note in facts["notes"])
    assert np.abs(frames_off(session, truth)).max() < 0.01
    assert check_of(session)["wheel_alignment"]["outcome"] == "PASS"


def test_pins_decide_and_the_wheel_checks_them(session):
    describe(session, lambda left: left.update(sync_label="audio"))
    assert run([session]).exit_code == 0
    _, facts = timing_of(session)
    assert facts["method"] == "pins"
    assert abs(facts["wheel"]["shift_frames"]) < 1
    assert facts["wheel"]["is_confident"]
    assert np.abs(frames_off(session, Truth.read(session))).max() < 0.01
    assert check_of(session)["wheel_alignment"]["outcome"] == "PASS"


def without_encoder(folder):
    edit_sync(folder, lambda channels, times: ~np.isin(channels, (5, 6)))


def test_without_a_wheel_times_are_those_of_the_numbers(session):
    without_encoder(session)
    assert run([session]).exit_code == 0
    _, facts = timing_of(session)
    assert facts["method"] == "counts"
    assert np.median(frames_off(session, Truth.read(session))) == pytest.approx(30, abs=0.1)
    assert check_of(session)["wheel_alignment"]["message"] == "no wheel was recorded"


def test_a_damaged_extracted_wheel_is_named_and_stops_nothing(session):
    without_encoder(session)
    (session / "alf").mkdir()
    for part in ("timestamps", "position"):
        (session / "alf" / f"_ibl_wheel.{part}.npy").write_bytes(b"no array")
    assert run([session]).exit_code == 0
    assert any("the wheel cannot be read from ALF" in note for note in timing_of(session)[1]["notes"])


@pytest.mark.parametrize(
    ("times", "positions"),
    [([0, 1, 1.001, 30], [0, 0, 0.0015, 0.0015]), ([0, 30], [0, 1])],
    ids=["one tick, then stillness", "two samples"],
)
def test_a_wheel_that_hardly_turned_costs_no_times(session, times, positions):
    without_encoder(session)
    (session / "alf").mkdir()
    for part, values in (("timestamps", times), ("position", positions)):
        np.save(session / "alf" / f"_ibl_wheel.{part}.npy", np.array(values, float))
    result = run([session])
    assert result.exit_code == 0, [f.message for f in result.sessions[0].failures]
    assert (frames_off(session, Truth.read(session)) < 31).all()
    _, facts = timing_of(session)
    assert facts["wheel"]["source"] == "_ibl_wheel.timestamps.npy"
    assert not facts["wheel"]["is_confident"]


class Failing(Brightness):
    def start(self, chunk):
        raise RuntimeError("this chunk cannot be measured")


def failing(label, n_frames, width, height, *_):
    usual = camera_reducers(label, n_frames, width, height)
    return tuple(Failing(r.region) if isinstance(r, Brightness) else r for r in usual)


def test_times_are_published_although_the_video_cannot_be_measured_and_later_corrected(session, repaired):
    result = run([session], reducers=failing)
    assert result.exit_code == 1
    assert timing_of(session)[1]["method"] == "counts"
    assert "not decoded" in timing_of(session)[1]["wheel"]["why_not"]
    assert np.median(frames_off(session, Truth.read(session))) == pytest.approx(30, abs=0.1)
    assert run([session], overwrite=True).exit_code == 0
    name = "alf/_ibl_leftCamera.times.npy"
    assert outputs(session)[name] == outputs(repaired[0])[name]


def test_times_without_pixels_never_undo_what_the_wheel_corrected(session, repaired):
    task = ibd.VideoSyncQcNidq(session, cameras=("left",))
    times, files = task.extract_camera()
    assert [path.name for path in files] == ["_ibl_leftCamera.times.npy"]
    off = (times[0] - Truth.read(session).cameras["left"].frame_times_s) * 60
    assert np.median(off) == pytest.approx(30, abs=0.1)
    assert not (session / "ibl_dask" / "leftCamera-frames.zarr").exists()
    assert run([session], overwrite=True).exit_code == 0
    before = outputs(session)
    corrected, _ = ibd.VideoSyncQcNidq(session, cameras=("left",)).extract_camera()
    np.testing.assert_array_equal(corrected[0], np.load(repaired[0] / "alf" / "_ibl_leftCamera.times.npy"))
    assert outputs(session) == before


# -- other clocks ------------------------------------------------------------------------------------------


def write_encoder(folder, behaviour, trial_starts_s):
    """Write what the encoder's module of a training rig notes, and the states it is tied to the Bpod by."""
    ticks = np.rint(-behaviour.wheel_rad * 1024 / (2 * np.pi)).astype(int)
    at = np.flatnonzero(np.diff(ticks)) + 1
    us = np.rint((behaviour.times_s * (1 + 40e-6) + 3) * 1e6).astype(np.int64)
    lines = [f"{us[i]} {(ticks[i] + 512) % 1024 - 512} \n" for i in at]
    (folder / "_iblrig_encoderPositions.raw.ssv").write_text("".join(lines))
    path = folder / "_iblrig_taskData.raw.jsonable"
    trials = [json.loads(line) for line in path.read_text().splitlines()]
    loops = [
        start + trial["behavior_data"]["States timestamps"]["closed_loop"][0][0]
        for start, trial in zip(trial_starts_s, trials, strict=True)
    ]
    noted = np.rint((np.array(loops) * (1 + 40e-6) + 3) * 1e6).astype(np.int64)
    (folder / "_iblrig_encoderEvents.raw.ssv").write_text("".join(f"{t} 3 \n" for t in noted))


def test_7_4_a_training_rig_s_frames_before_the_first_trial_are_found_by_its_wheel(tmp_path):
    """The Bpod did not see when the camera started: by numbers, its first pulse would be that of frame 0."""
    folder = tmp_path / SESSION
    faults = TrainingFaults(head_s=1.5, tail_s=0.5, pins="none")
    truth = write_training_session(folder, duration_s=40, scale=0.125, faults=faults, seed=3)
    rng = np.random.default_rng(3)
    behaviour = simulate_behaviour(float(truth.camera.exposure_times_s[-1]) + 1.0, truth.ttl_times_s[::4], rng)
    write_encoder(folder / "raw_behavior_data", behaviour, truth.trial_times_s[:, 0])
    assert run([folder]).exit_code == 0
    details, facts = timing_of(folder)
    assert facts["method"] == "wheel"
    times = np.load(folder / "alf" / "_ibl_leftCamera.times.npy")
    assert np.abs(times - truth.camera.frame_times_s).max() * 30 <= 1.05
    assert facts["n_missing_start"] == pytest.approx(45, abs=1)
    assert (details["quality"][: facts["n_missing_start"]] == 2).all()


@pytest.fixture(scope="module")
def mesoscope(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mesoscope") / SESSION
    faults = MesoscopeFaults(cameras={"left": CameraFaults(surplus_end_s=SURPLUS_S)})
    write_mesoscope_session(folder, duration_s=30, cameras=("left",), scale=0.125, seed=SEED, faults=faults)
    forget_pins(folder)
    shutil.rmtree(folder / "alf")
    return folder


@pytest.mark.parametrize("source", ["samples", "directions"])
def test_7_4_a_timeline_s_counter_repairs_times_as_well(mesoscope, tmp_path, source):
    """The reference looks for SpikeGLX files whatever the main clock is."""
    folder = tmp_path / SESSION
    shutil.copytree(mesoscope, folder)
    truth = Truth.read(folder)
    if source == "samples":
        sync = folder / "raw_sync_data"
        column = next(
            each["arrayColumn"]
            for each in json.loads((sync / "_timeline_DAQdata.meta.json").read_text())["inputs"]
            if each["name"] == "rotary_encoder"
        )
        clock = np.arange(0, truth.wheel_times_s[-1], 1e-3)
        counts = np.rint(np.interp(clock, truth.wheel_times_s, truth.wheel_rad) * 4096 / (2 * np.pi)).astype(np.int64)
        raw = np.zeros((clock.size, 7))
        raw[:, column - 1] = counts % 2**32
        np.save(sync / "_timeline_DAQdata.raw.npy", raw)
        np.save(sync / "_timeline_DAQdata.timestamps.npy", clock)
    assert run([folder]).exit_code == 0
    _, facts = timing_of(folder)
    assert facts["wheel"]["source"].startswith("the encoder's counter")
    assert facts["method"] == "wheel"
    assert np.abs(frames_off(folder, truth)).max() <= 1.1
