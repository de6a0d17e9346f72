"""RO-Crate of a run: an independent library reads it back, and finds what ran, on what, and how it ended."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from made_runs import FAULTS, folder_of, write_run
from program import call, run, says
from rocrate.rocrate import ROCrate

from ibl_dask.pipeline.run_crate import write_run_crate
from ibl_dask.report.crate import METADATA_FILE, PROFILE, CrateFile, CrateRun, CrateSession, CrateTask, crate_metadata
from ibl_dask.store.run_folder import RunFolder
from ibl_dask.synth.session import write_session

NAME = "20230502T081233-4be1f0"
COMPLETED, FAILED, ACTIVE = (f"http://schema.org/{word}ActionStatus" for word in ("Completed", "Failed", "Active"))


def values(entity, name):
    """Return the values of a property, which the library gives alone or in a list."""
    found = entity.get(name)
    return [] if found is None else found if isinstance(found, list) else [found]


def path_of(entity):
    return Path(unquote(urlsplit(entity.id).path))


def actions_of(crate):
    return {action["name"]: action for action in values(crate.root_dataset, "mentions")}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return a session that ran, and the crate of its run."""
    folder = tmp_path_factory.mktemp("rig é") / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_session(folder, duration_s=2, cameras=("body",), scale=0.25)
    run(folder, "--tasks", "VideoSyncQcNidq")
    work = folder.parents[2] / ".ibl_dask"
    code, text = call("report", "--run", "latest", "--crate", "--work-dir", work)
    assert code == 0
    return folder, Path(text.strip())


def test_the_crate_of_a_run_names_its_inputs_outputs_and_software(ran):
    folder, metadata = ran
    crate = ROCrate(metadata.parent)
    root = crate.root_dataset
    assert [each.id for each in values(root, "conformsTo")] == [PROFILE]
    assert {"name", "description", "datePublished", "license"} <= root.properties().keys()
    actions = actions_of(crate)
    whole, task = actions["ibl-dask run SW_001/2023-05-01/001"], actions["VideoSyncQC_nidq on SW_001/2023-05-01/001"]
    assert whole["startTime"] <= whole["endTime"]
    assert task.properties()["actionStatus"] == COMPLETED
    assert [path_of(each) for each in values(whole, "object")] == [folder]
    inputs, outputs = ({path_of(each) for each in values(task, name)} for name in ("object", "result"))
    video, times = folder / "raw_video_data/_iblrig_bodyCamera.raw.mp4", folder / "alf/_ibl_bodyCamera.times.npy"
    assert video in inputs
    assert times in outputs
    assert video not in outputs
    assert all(each.exists() for each in inputs | outputs)
    sizes = {path_of(each): each.get("contentSize") for each in (*values(task, "object"), *values(task, "result"))}
    assert sizes[times] == str(times.stat().st_size)
    [software] = values(task, "instrument")
    assert (software.type, software["name"]) == ("SoftwareApplication", "VideoSyncQC_nidq")
    [package] = values(whole, "instrument")
    libraries = {each["name"]: each["softwareVersion"] for each in values(package, "softwareRequirements")}
    assert libraries.keys() >= {"av", "numpy", "zarr"}


def test_every_file_is_part_of_the_crate_and_those_of_the_run_are_in_its_folder(ran):
    _, metadata = ran
    crate = ROCrate(metadata.parent)
    parts = values(crate.root_dataset, "hasPart")
    reached = {each.id for each in parts} | {each.id for part in parts for each in values(part, "hasPart")}
    assert {each.id for each in crate.data_entities} == reached
    own = [each.id for each in parts if "://" not in each.id and not each.id.startswith("file:")]
    assert "summary.json" in own
    assert all((metadata.parent / name).is_file() for name in own)
    graph = json.loads(metadata.read_text())["@graph"]
    ids = [entity["@id"] for entity in graph]
    assert len(set(ids)) == len(ids)


def test_a_later_run_takes_the_inputs_and_outputs_but_not_the_outcome(ran, tmp_path):
    """The provenance of a session is that of its latest run."""
    folder, metadata = ran
    before = metadata.read_text()
    provenance = folder / "ibl_dask" / "provenance.json"
    content = provenance.read_text()
    name = metadata.parent.name
    for other in (content.replace(name, "another-run"), "{", json.dumps({"requests": {"x": 3}, "places": [1]})):
        provenance.write_text(other)
        try:
            write_run_crate(RunFolder(name, metadata.parent))
            task = actions_of(ROCrate(metadata.parent))["VideoSyncQC_nidq on SW_001/2023-05-01/001"]
            assert values(task, "object") == values(task, "result") == []
            assert task.properties()["actionStatus"] == COMPLETED
        finally:
            provenance.write_text(content)
    write_run_crate(RunFolder(name, metadata.parent))
    assert len(metadata.read_text()) >= len(before)


def test_failures_are_failed_actions_with_their_errors(tmp_path):
    work = write_run(tmp_path, NAME, 3, {1: FAULTS["has no video"](1)})
    path = write_run_crate(RunFolder.of(work, NAME))
    actions = actions_of(ROCrate(path.parent))
    references = ["/".join(folder_of(tmp_path, n).parts[-3:]) for n in range(3)]
    statuses = {name: each.properties()["actionStatus"] for name, each in actions.items()}
    assert statuses == {
        f"{verb} {reference}": FAILED if n == 1 else COMPLETED
        for n, reference in enumerate(references)
        for verb in ("ibl-dask run", "VideoCompress on")
    }, "tasks that waited are no actions"
    errors = {name: str(each["error"]) for name, each in actions.items() if each.get("error")}
    assert errors.keys() == {name for name, status in statuses.items() if status == FAILED}
    assert all("the right camera has no video" in error for error in errors.values())


def test_sessions_that_did_not_begin_and_odd_names_make_no_nonsense(tmp_path):
    odd = CrateTask("lab.tasks.Lick rate#1", "Started", "lab.tasks.LickRate", [CrateFile("/data/a b/ü#1?.npy", 3)])
    sessions = [
        CrateSession("/data/a b/2023-05-01/001", "a b/2023-05-01/001", "running", 1.7e9, tasks=[odd]),
        CrateSession("/data/c/2023-05-01/001", "c/2023-05-01/001", "waiting"),
    ]
    content = crate_metadata(CrateRun("r", "0.1.0", 1.7e9, 1.7e9, sessions, [CrateFile("summary.json", 2)]))
    (tmp_path / METADATA_FILE).write_text(json.dumps(content))
    (tmp_path / "summary.json").write_text("{}")
    crate = ROCrate(tmp_path)
    actions = actions_of(crate)
    assert [each.properties()["actionStatus"] for each in actions.values()] == [ACTIVE, ACTIVE]
    [read] = values(actions["lab.tasks.Lick rate#1 on a b/2023-05-01/001"], "object")
    assert path_of(read) == Path("/data/a b/ü#1?.npy")


def test_a_crate_is_of_a_run(ran):
    folder, _ = ran
    for arguments in (("report", folder, "--crate"), ("report", "--run", "latest", "--crate", "--out", "x.json")):
        code, text = call(*arguments)
        assert code == 2
        says(text, "--crate takes a run")
