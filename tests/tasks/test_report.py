"""What the report and the provenance of a session tell after further runs: never less than before."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from turn_tasks import Noting

import ibl_dask as ibd
from ibl_dask.cli.qc import show_qc
from ibl_dask.cli.report import write_reports
from ibl_dask.cli.run import print_outcome
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.run import run
from ibl_dask.store.frames import read_frames, write_frames
from ibl_dask.store.workspace import Workspace

SESSION = Path("lab") / "Subjects" / "SW_001" / "2023-05-01" / "001"
LABELS = ("left", "right", "body")


@pytest.fixture(scope="module")
def _finished(_template, tmp_path_factory):
    """Run everything on the small session, once."""
    folder = tmp_path_factory.mktemp("finished") / SESSION
    shutil.copytree(_template, folder)
    assert run([folder]).exit_code == 0
    return folder


@pytest.fixture
def finished(_finished, tmp_path):
    """Return a copy of the finished session; times of writing, by which videos are known, stay."""
    folder = tmp_path / SESSION
    shutil.copytree(_finished, folder)
    return folder


def page(folder):
    return (folder / "ibl_dask" / "report.html").read_text()


def provenance(folder):
    return json.loads((folder / "ibl_dask" / "provenance.json").read_text())


def checks(folder):
    return json.loads((folder / "ibl_dask" / "qc.json").read_text())


def said(text):
    """Return what a page says of each camera: its line at the top, figures, pictures, checks, facts."""
    lines = re.findall(r'<a class="line".*?</a>', text, re.DOTALL)
    sections = re.findall(r'<section class="camera".*?</section>', text, re.DOTALL)
    return [*(re.sub(r"\s+", " ", re.sub("<.*?>", " ", line)) for line in lines), *sections]


def lost(before, after, path=""):
    """Return the places of a JSON document whose content is not in another one any more."""
    if isinstance(before, dict):
        if not isinstance(after, dict):
            return [path]
        return [place for key, value in before.items() for place in lost(value, after.get(key), f"{path}/{key}")]
    if isinstance(before, list):
        return [] if isinstance(after, list) and len(after) >= len(before) else [path]
    return [path] if after is None and before is not None else []


def lab_task(how="Complete"):
    return TaskSpec("lab", f"{Noting.__module__}.{Noting.__qualname__}", {"label": "lab", "how": how})


PARTIAL_RUNS = {
    "a list of raw files": {"tasks": ["VideoRegisterRaw"]},
    "a compression with nothing to compress": {"tasks": ["VideoCompress"]},
    "a task of a lab": {"specs": [lab_task()]},
    "a task of a lab that fails": {"specs": [lab_task("Errored")]},
    "a task of a lab that cannot be planned": {"specs": [lab_task("Unplannable")]},
}


@pytest.mark.parametrize("options", PARTIAL_RUNS.values(), ids=PARTIAL_RUNS)
def test_a_run_of_a_part_tells_no_less_than_the_run_before(finished, options):
    before, known = said(page(finished)), provenance(finished)
    result = run([finished], **options)
    assert result.sessions[0].report is not None
    assert said(page(finished)) == before
    assert lost(known, provenance(finished)) == []
    assert set(result.sessions[0].qc) == set(LABELS)
    assert write_reports([str(finished)], None, None) == 0
    assert said(page(finished)) == before


def test_tasks_and_steps_of_every_run_are_told_with_their_run(finished):
    first = provenance(finished)
    result = run([finished], tasks=["VideoRegisterRaw"])
    found = provenance(finished)
    assert [entry["run"] for entry in found["runs"]] == [first["ran"]["run"], result.name]
    assert found["runs"][1]["tasks"] == {"VideoRegisterRaw": "Complete"}
    assert found["runs"][0]["made"]["av"]
    assert found["ran"]["run"] == result.name
    assert found["ran"]["tasks"] == first["ran"]["tasks"]
    assert found["ran"]["steps"]["framepass-left"] == {**first["ran"]["steps"]["framepass-left"]}
    assert found["ran"]["steps"]["register-left"]["run"] == result.name
    assert result.name in page(finished)
    assert first["ran"]["run"] in page(finished)


def test_how_long_the_work_took_is_still_known_once_a_run_finds_it_done(finished):
    first = provenance(finished)["ran"]["steps"]["framepass-right"]
    assert first["seconds"] > 0
    assert run([finished]).exit_code == 0
    assert provenance(finished)["ran"]["steps"]["framepass-right"] == first


def test_a_failure_is_told_until_its_task_has_run_again(finished):
    run([finished], specs=[lab_task("Errored")])
    assert "lab has no luck" in page(finished)
    run([finished], tasks=["VideoRegisterRaw"])
    assert "lab has no luck" in page(finished)
    assert "1 failure" in page(finished)
    assert provenance(finished)["ran"]["tasks"]["lab"] == "Errored"
    run([finished], specs=[lab_task()])
    assert "lab has no luck" not in page(finished)
    assert provenance(finished)["ran"]["tasks"]["lab"] == "Complete"


def test_one_camera_judged_alone_leaves_the_verdicts_on_the_others(finished):
    before = checks(finished)
    task = ibd.VideoSyncQcNidq(finished, cameras=("left",))
    assert task.run() == 0
    after = checks(finished)
    assert after["cameras"].keys() == before["cameras"].keys()
    assert after["extended_qc"] == before["extended_qc"]
    assert after["cameras"]["body"] == before["cameras"]["body"]


def test_checks_of_a_video_that_cannot_be_checked_any_more_are_kept_beside_the_reason(finished):
    before = checks(finished)["cameras"]["right"]
    (finished / "raw_video_data" / "_iblrig_rightCamera.raw.mp4").write_bytes(b"")
    for _ in range(2):
        run([finished], tasks=["VideoSyncQC_nidq"])
        found = checks(finished)["cameras"]["right"]
        assert (found["outcome"], found["checks"]) == ("CRITICAL", {})
        assert found["before"] == before
        assert checks(finished)["extended_qc"]["videoRight"] == "CRITICAL"
    (section,) = (part for part in said(page(finished)) if "right camera</span>" in part)
    assert "It could not be checked." in section
    assert "An earlier run judged it" in section
    assert before["outcome"] in section


def test_a_camera_that_is_not_described_any_more_is_not_judged_any_more(finished):
    path = finished / "_ibl_experiment.description.yaml"
    text = path.read_text()
    cut = re.sub(r"\n    body:\n(      .*\n)+", "\n", text)
    assert cut != text
    path.write_text(cut)
    assert ibd.VideoSyncQcNidq(finished, cameras=("left",)).run() == 0
    assert checks(finished)["cameras"].keys() == {"left", "right"}
    assert "body" in provenance(finished)["inputs"]


def test_a_report_without_provenance_is_made_from_what_is_on_disk(finished):
    n_figures = page(finished).count("<svg")
    for name in ("provenance.json", "report.html"):
        (finished / "ibl_dask" / name).unlink()
    assert write_reports([str(finished)], None, None) == 0
    found = page(finished)
    assert found.count("<svg") == n_figures
    assert "300 frames" in found
    assert "Nothing is known of the run." in found


def test_a_session_without_any_result_has_nothing_to_report(session_folder, capsys):
    assert write_reports([str(session_folder)], None, None) == 1
    assert "nothing to report on yet" in capsys.readouterr().err
    assert not (session_folder / "ibl_dask").exists()


def test_results_of_tasks_that_ran_without_a_driver_are_reported(session_folder):
    assert ibd.VideoSyncQcNidq(session_folder, cameras=("body",)).run() == 0
    assert write_reports([str(session_folder)], None, None) == 0
    lines = said(page(session_folder))[:3]
    body, left = (next(line for line in lines if f" {label} " in line) for label in ("body", "left"))
    assert "150 frames" in body
    assert "times from pins" in body
    assert "NOT SET" in left
    assert "no frame times" in left


def test_a_provenance_that_an_older_version_gutted_is_made_whole(finished):
    """Version 1 told of the latest run alone; this one had registered raw files, and nothing else."""
    before, path = said(page(finished)), finished / "ibl_dask" / "provenance.json"
    known = provenance(finished)
    ran = {**known["ran"], "videos": {}, "steps": {"register-left": {"n": 1, "seconds": 0.1, "status": {"done": 1}}}}
    ran["tasks"] = {"VideoRegisterRaw": "Errored"}
    ran["failures"] = [{"kind": "x", "category": "input", "message": "an old grief", "traceback": ""}]
    path.write_text(json.dumps({**{k: v for k, v in known.items() if k != "runs"}, "version": 1, "ran": ran}))
    assert write_reports([str(finished)], None, None) == 0
    found = said(page(finished))
    assert [line.split(" frames")[0] for line in found[:3]] == [line.split(" frames")[0] for line in before[:3]]
    assert [text.count("<svg") for text in found] == [text.count("<svg") for text in before]
    run([finished], specs=[lab_task()])
    assert "an old grief" in page(finished)
    assert provenance(finished)["runs"][0]["tasks"] == {"VideoRegisterRaw": "Errored"}
    run([finished], tasks=["VideoRegisterRaw"])
    assert "an old grief" not in page(finished)


def test_the_provenance_of_a_newer_version_is_not_overwritten(finished):
    path = finished / "ibl_dask" / "provenance.json"
    path.write_text(json.dumps({**provenance(finished), "version": 99}))
    before = path.read_bytes(), page(finished)
    result = run([finished], tasks=["VideoRegisterRaw"])
    assert result.exit_code == 1
    assert "another layout" in result.sessions[0].failures[0].message
    assert (path.read_bytes(), page(finished)) == before


@pytest.mark.parametrize("content", [b"{", b'{"ran": 3}', b"\xff\xfe"])
def test_a_damaged_provenance_costs_what_it_said_and_no_more(finished, content):
    n_figures = page(finished).count("<svg")
    (finished / "ibl_dask" / "provenance.json").write_bytes(content)
    assert run([finished], tasks=["VideoRegisterRaw"]).exit_code == 0
    assert page(finished).count("<svg") == n_figures


def test_inputs_that_are_gone_are_told_as_they_were(finished):
    known = provenance(finished)["inputs"]["right"]
    for path in (finished / "raw_video_data").glob("*right*"):
        path.unlink()
    run([finished], specs=[lab_task()])
    found = provenance(finished)["inputs"]["right"]
    assert [{**entry, "is_there": False} for entry in known] == found
    (section,) = (part for part in said(page(finished)) if "right camera</span>" in part)
    assert "is not there any more" in section
    assert "750" in section
    assert "<svg" in section


def test_numbers_of_a_video_that_was_replaced_since_are_named_as_such(finished):
    video = finished / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    shutil.copy(finished / "raw_video_data" / "_iblrig_bodyCamera.raw.mp4", video)
    run([finished], specs=[lab_task()])
    left = next(part for part in said(page(finished)) if "left camera</span>" in part)
    assert "what is shown was measured of _iblrig_leftCamera.raw.mp4 of " in left
    assert f"_iblrig_leftCamera.raw.mp4 of {video.stat().st_size:,} bytes now: run again" in left
    assert "300" in left
    body = finished / "raw_video_data" / "_iblrig_bodyCamera.raw.mp4"
    os.utime(body, ns=(0, 0))
    run([finished], specs=[lab_task()])
    assert "run again to measure it as it is" not in page(finished)  # a mere touch is no change
    content = bytearray(body.read_bytes())
    content[len(content) // 2] ^= 1
    body.write_bytes(content)
    run([finished], specs=[lab_task()])
    assert "_iblrig_bodyCamera.raw.mp4 holds another video than the one that was measured" in page(finished)


def test_what_cannot_be_read_is_named_and_costs_nothing_else(finished):
    (finished / "alf" / "_ibl_leftCamera.times.npy").write_bytes(b"\x93NUMPY")
    shutil.rmtree(Workspace(ibd.Session(finished), finished / "work").frames_store("right") / "brightness")
    assert write_reports([str(finished)], None, None) == 0
    sections = {label: next(p for p in said(page(finished)) if f"{label} camera</span>" in p) for label in LABELS}
    assert "its times are not shown" in sections["left"]
    assert "Brightness" in sections["left"]
    assert "its per-frame numbers are not shown" in sections["right"]
    assert "Inter-frame interval" in sections["right"]
    assert "Note." not in sections["body"]


def test_a_report_that_cannot_be_made_is_named_and_leaves_the_one_before(finished, monkeypatch, capsys):
    def fail(content):
        raise ZeroDivisionError("no such figure")

    before = page(finished)
    monkeypatch.setattr("ibl_dask.report.html.render_session", fail)
    assert write_reports([str(finished)], None, None) == 1
    text = capsys.readouterr().err
    for word in ("the report could not be made", "ZeroDivisionError: no such figure", "what to do"):
        assert word in text
    assert "Traceback" not in text
    result = run([finished], tasks=["VideoRegisterRaw"])
    assert result.exit_code == 1
    assert [failure.kind for failure in result.sessions[0].failures] == ["ReportFailed"]
    assert page(finished) == before
    assert provenance(finished)["ran"]["run"] == result.name


def test_one_figure_that_cannot_be_drawn_is_named_among_the_others(finished, monkeypatch):
    n_figures = page(finished).count("<svg")
    monkeypatch.setattr("ibl_dask.report.figures.interval_histogram", lambda times: 1 / 0)
    assert write_reports([str(finished)], None, None) == 0
    found = page(finished)
    assert found.count("the histogram: ZeroDivisionError") == len(LABELS)
    assert found.count("<svg") == n_figures - len(LABELS)


def test_a_run_is_not_well_over_a_warning_of_an_earlier_one(finished, capsys):
    content = checks(finished)
    content["cameras"]["left"]["outcome"] = content["outcome"] = "WARNING"
    (finished / "ibl_dask" / "qc.json").write_text(json.dumps(content))
    print_outcome(run([finished], tasks=["VideoRegisterRaw"]))
    text = capsys.readouterr().out
    assert re.search(r"1 session, all done; checks of cameras: .*\d WARNING", text)
    assert "all well" not in text


def test_cameras_that_nobody_checked_are_told_beside_those_that_pass(finished, capsys):
    content = checks(finished)
    del content["cameras"]["body"]
    (finished / "ibl_dask" / "qc.json").write_text(json.dumps(content))
    assert show_qc([str(finished)], None) == 0
    assert "this camera was not checked yet" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: {**content, "cameras": {"left": None}},
        lambda content: {**content, "cameras": {"left": {"outcome": "PASS", "checks": {"focus": 3}}}},
        lambda content: {**content, "outcome": "LOVELY"},
        lambda content: [],
    ],
)
def test_a_record_of_checks_that_makes_no_sense_is_named(finished, capsys, damage):
    path = finished / "ibl_dask" / "qc.json"
    path.write_text(json.dumps(damage(checks(finished))))
    assert show_qc([str(finished)], None) == 1
    assert write_reports([str(finished)], None, None) == 1
    assert capsys.readouterr().err.count("this record of checks is damaged") == 2


def test_the_checks_of_a_newer_version_are_not_read_and_not_overwritten(finished, capsys):
    path = finished / "ibl_dask" / "qc.json"
    path.write_text(json.dumps({**checks(finished), "version": 99}))
    before = path.read_bytes()
    assert show_qc([str(finished)], None) == 1
    assert "another layout" in capsys.readouterr().err
    assert ibd.VideoSyncQcNidq(finished, cameras=("left",)).run() == -1
    assert path.read_bytes() == before


def test_values_of_an_older_record_of_checks_get_the_names_of_what_they_are(finished):
    path = finished / "ibl_dask" / "qc.json"
    content = checks(finished)
    content["version"] = 2
    content["cameras"]["body"]["checks"]["framerate"]["values"] = {"median_rate_hz": 30.1, "mean_rate_hz": 30.1}
    path.write_text(json.dumps(content))
    assert ibd.VideoSyncQcNidq(finished, cameras=("left",)).run() == 0
    found = checks(finished)
    assert found["version"] == 3
    values = found["cameras"]["body"]["checks"]["framerate"]["values"]
    assert values == {"median_rate_hz": 30.1, "mean_rate_near_median_hz": 30.1}


def test_a_camera_of_one_brightness_is_reported(finished):
    space = Workspace(ibd.Session(finished), finished / "work")
    for label, value in (("left", 93.0), ("right", 0.0), ("body", np.nan)):
        store = read_frames(space.frames_store(label))
        assert store is not None
        for name in ("brightness", "sharpness", "motion_energy_wheel"):
            if name in store.columns:
                store.columns[name].values[...] = value
        write_frames(space.frames_store(label), store, "SW_001/2023-05-01/001", label)
    assert write_reports([str(finished)], None, None) == 0
    assert "Not drawn" not in page(finished)
    assert page(finished).count("<svg") >= len(LABELS)


def test_numbers_in_the_record_are_those_of_the_files(finished):
    import cv2
    import zarr

    space = Workspace(ibd.Session(finished), finished / "work")
    for label in LABELS:
        record = checks(finished)["cameras"][label]["checks"]
        values = {name: check["values"] for name, check in record.items()}
        times = np.load(finished / "alf" / f"_ibl_{label}Camera.times.npy")
        with np.load(space.timing_file(label)) as content:
            timing = {key: content[key] for key in content.files}
        frames = zarr.open_group(space.frames_store(label), mode="r")
        luma = frames["brightness"][...]
        video = cv2.VideoCapture(str(finished / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4"))
        n = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        size = [int(video.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        assert n == len(times) == len(luma)
        assert values["timestamps"] == {
            "n_times": n,
            "n_frames": n,
            "n_not_measured": int((timing["quality"] > 0).sum()),
            "n_assumed": int((timing["quality"] == 3).sum()),
        }
        assert values["camera_times"] == {"n_camera_times": n, "n_frames": n}
        assert [values["resolution"]["width_px"], values["resolution"]["height_px"]] == size
        assert values["file_headers"]["header_hz"] == pytest.approx(video.get(cv2.CAP_PROP_FPS), rel=1e-3)
        assert values["framerate"]["median_rate_hz"] == pytest.approx(1 / np.median(np.diff(times)))
        assert values["framerate"]["mean_rate_hz"] == pytest.approx((n - 1) / (times[-1] - times[0]))
        assert values["frame_intervals"]["longest_s"] == pytest.approx(np.diff(times).max())
        assert values["pulse_residuals"]["n_matched"] == len(timing["residuals_s"])
        assert values["pulse_residuals"]["median_residual_s"] == pytest.approx(np.median(timing["residuals_s"]))
        assert values["decoding"]["n_undecoded"] == int(frames["decode_error"][...].sum()) == 0
        assert values["black_frames"]["n_black"] == int((luma <= 20).sum())
        assert values["flicker"]["largest_jump_luma"] == pytest.approx(float(np.abs(np.diff(luma)).max()))
        sampled = frames["sample_brightness"][...]
        assert values["brightness"]["lowest"] == pytest.approx(float(sampled.min()))
        assert values["brightness"]["n_samples"] == 100


def test_pins_without_a_clock_are_no_times_of_the_camera(finished):
    """The body camera keeps pins and counter; the file of its clock is gone."""
    (finished / "raw_video_data" / "_iblrig_bodyCamera.timestamps.ssv").unlink()
    run([finished], tasks=["VideoSyncQC_nidq"])
    found = checks(finished)["cameras"]["body"]["checks"]
    assert found["camera_times"]["outcome"] == "NOT_SET"
    assert "no clock" in found["camera_times"]["message"]
    assert found["pin_state"]["values"]["size_difference"] == 0
