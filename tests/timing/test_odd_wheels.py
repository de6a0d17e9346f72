"""Whatever was noted of a wheel, it costs no frame its time: it says how far off a video is, or says nothing."""

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wheel_scenes import make_scene

from ibl_dask.errors import InputError
from ibl_dask.timing.wheel.alignment import align, corrected_numbers
from ibl_dask.timing.wheel.bout import active_bout, bout_offset
from ibl_dask.timing.wheel.bpod_encoder import read_bpod_wheel
from ibl_dask.timing.wheel.motion import motion
from ibl_dask.timing.wheel.sources import read_alf_wheel, read_timeline_wheel

SCENE = make_scene(20, 60, 1)
TICK_RAD = 2 * np.pi / 4096
CLOCK = np.arange(0.0, 30.0, 0.5)
ODD = {
    "one tick, then stillness": ([0, 1, 1.001, 30], [0, 0, TICK_RAD, TICK_RAD]),
    "one tick at the end": ([0, 29.9, 30], [0, 0, TICK_RAD]),
    "slow drift": (np.linspace(0, 30, 3000), np.linspace(0, 0.05, 3000)),
    "fast drift": (CLOCK, 5 * CLOCK),
    "two samples": ([0, 30], [0, 1]),
    "two samples close together": ([0, 0.05], [0, 1]),
    "one leap": ([0, 10, 10.001, 30], [0, 0, 100, 100]),
    "empty": ([], []),
    "one sample": ([3.0], [1.0]),
    "no numbers": ([0, 1, np.nan, 3, 20], [0, 1, 2, np.nan, 5]),
    "infinite": ([0, 1, np.inf], [1, -np.inf, 3]),
    "beyond any turn": ([0, 1, 30], [0, 1e300, 0]),
    "one time twice": ([0, 1, 1, 1, 20], [0, 1, 2, 3, 5]),
    "all at one time": ([5, 5, 5], [0, 1, 2]),
    "out of order": ([5, 1, 3, 20, 2], [0, 1, 2, 3, 5]),
    "still": (CLOCK, 0 * CLOCK + 1),
    "ends before the video begins": (CLOCK - 100, np.sin(CLOCK)),
    "begins after the video ends": (CLOCK + 100, np.sin(CLOCK)),
    "bursts too short to be bouts": (np.arange(0, 30, 0.01), np.floor(np.arange(0, 30, 0.01) / 5) * 0.02),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("wheels")


def look(folder, times, positions):
    """Compare a video of 20 s with a wheel as a run does."""
    np.save(folder / "times.npy", np.array(times))
    np.save(folder / "position.npy", np.array(positions))
    turned = motion(read_alf_wheel(folder / "times.npy", folder / "position.npy"))
    if turned is None:
        return None
    bout = active_bout(turned)
    if bout is not None:
        assert bout[0] < bout[1]
        bout_offset(SCENE.energy, SCENE.pulses.at(SCENE.shows), turned, bout)
    found = align(SCENE.energy, SCENE.pulses, SCENE.shows, turned)
    if found.is_confident:
        corrected_numbers(SCENE.shows, found)
    return found


@pytest.mark.parametrize("name", ODD)
def test_an_odd_wheel_says_nothing(folder, name):
    found = look(folder, *ODD[name])
    assert found is None or not found.is_confident


@settings(max_examples=50, deadline=None)
@example(0, 4, 30.0, 0.0, True)
@given(
    st.integers(0, 2**16),
    st.sampled_from([0, 1, 2, 3, 5, 20, 300]),
    st.sampled_from([0.02, 0.1, 1.0, 5.0, 30.0]),
    st.sampled_from([-100.0, 0.0, 10.0, 100.0]),
    st.booleans(),
)
def test_no_trace_of_a_wheel_is_an_error(folder, seed, n, span_s, start_s, stops):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, span_s, n)) + start_s
    steps = rng.choice([0, TICK_RAD, 0.1, 3.0], n, p=[0.5, 0.3, 0.1, 0.1]) * rng.choice([-1, 1], n)
    if stops:
        steps[rng.integers(0, n + 1) :] = 0
    look(folder, times, np.cumsum(steps))


def wheel_or_refusal(read, *paths):
    """Return the wheel that files hold, or the error that names what is wrong with them."""
    try:
        wheel = read(*paths)
    except InputError as error:
        return None, error
    if wheel is not None:
        motion(wheel)
    return wheel, None


# -- files that hold no wheel ------------------------------------------------------------------------------

ARRAYS = {
    "numbers": np.arange(10.0),
    "rows": np.zeros((10, 2)),
    "no rows": np.zeros((0, 2)),
    "nothing": np.zeros(0),
    "a box": np.zeros((2, 3, 4)),
    "one number": np.float64(3),
    "complex": np.arange(10) + 1j,
    "text": np.array(["a", "b"]),
    "records": np.zeros(3, [("a", "f8"), ("b", "i4")]),
    "dates": np.arange(10).astype("M8[s]"),
    "no numbers": np.full(10, np.nan),
    "huge": np.full(10, 1e308),
    "truth values": np.array([True, False]),
}


@pytest.mark.parametrize("times", ARRAYS)
def test_an_extracted_wheel_is_read_or_named(folder, times):
    np.save(folder / "t.npy", ARRAYS[times])
    for positions in ARRAYS.values():
        np.save(folder / "p.npy", positions)
        _, refused = wheel_or_refusal(read_alf_wheel, folder / "t.npy", folder / "p.npy")
        assert refused is None or str(folder) in refused.where


@pytest.mark.parametrize("column", [0, -3, 99, 1e400, None, "1", "x"])
def test_a_counter_of_timeline_is_read_or_named(folder, column):
    np.save(folder / "t.npy", ARRAYS["rows"])
    (folder / "meta.json").write_text(json.dumps({"inputs": [{"name": "rotary_encoder", "arrayColumn": column}]}))
    for raw in ("rows", "no rows", "complex", "a box", "no numbers"):
        np.save(folder / "raw.npy", ARRAYS[raw])
        paths = (folder / name for name in ("raw.npy", "t.npy", "meta.json"))
        _, refused = wheel_or_refusal(read_timeline_wheel, *paths)
        assert refused is None or str(folder) in refused.where


WORDS = st.sampled_from(
    ["0", "1", "-1", "3", "1000000", "4294967295", "-9" * 11, "9" * 400, "nan", "1e5", "x", "Position"]
)
LINES = st.lists(st.lists(WORDS, min_size=1, max_size=5).map(" ".join), max_size=8).map("\n".join)
EVENTS = st.one_of(
    LINES,
    st.lists(st.sampled_from([0, 1000, 10**6, 2 * 10**6, 10**16]), max_size=8).map(
        lambda times: "\n".join(f"{t} 3" for t in sorted(times))
    ),
)
TRIALS = st.lists(st.sampled_from([0, 0.001, 1, 2, 1e400, float("nan"), None]), max_size=8)


@settings(max_examples=80, deadline=None)
@example("0 1\n1 2", "1000 3\n1000 3", [0, 0])
@example("0 1\n1 " + "9" * 30, "0 3\n1000000 3", [0, 1])
@given(LINES, EVENTS, TRIALS)
def test_an_encoder_of_a_bpod_is_read_or_named(folder, positions, events, starts):
    states = {"closed_loop": [[0.1, 1]], "reset_rotary_encoder": [[0, 0.1]]}
    trials = [{"Bpod start timestamp": 0, "Trial start timestamp": s, "States timestamps": states} for s in starts]
    paths = [folder / name for name in ("positions.ssv", "events.ssv", "trials.jsonable")]
    texts = (positions, events, "\n".join(json.dumps({"behavior_data": trial}) for trial in trials))
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    wheel, refused = wheel_or_refusal(read_bpod_wheel, *paths)
    assert refused is None or refused.do
    if wheel is not None:
        assert np.isfinite(wheel.times_s).all()
        assert np.isfinite(wheel.position_rad).all()
