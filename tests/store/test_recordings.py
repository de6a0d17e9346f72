"""Which files of a recording belong together, and what becomes of copies that differ."""

import numpy as np
import pytest
from spikeglx_files import write_recording

import ibl_dask as ibd
from ibl_dask.errors import InputError, MissingFile, TruncatedFile, UnusableFile
from ibl_dask.model.session import Session
from ibl_dask.store import alf
from ibl_dask.store.recordings import find_recordings, stem_of
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks import session_files as inputs

UUIDS = [f"01234567-89ab-cdef-0123-{n:012d}" for n in range(3)]
SYNC = "raw_ephys_data"


@pytest.fixture(scope="module")
def header(data_folder):
    return data_folder / "nidq" / "sample3B_g0_t0.nidq.meta"


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "SW_001" / "2023-05-01" / "001"
    (folder / SYNC).mkdir(parents=True)
    return Workspace(Session(folder), tmp_path / "work")


def recorded(workspace, header, name, at_s=(0.1, 0.2)):
    return write_recording(workspace.session.path / SYNC, at_s, [0, 0], [1, -1], header, name=name)


def fronts(workspace, **named):
    pytest.importorskip("spikeglx", reason="needs the field's library: pip install 'ibl_dask[spikeglx]'")
    return inputs.read_fronts(workspace, inputs.SyncFiles(SYNC, "spikeglx", **named)).times_s


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("_spikeglx_ephysData_g0_t0.nidq.cbin", "_spikeglx_ephysData_g0_t0"),
        (f"x_g1_t0.nidq.{UUIDS[0]}.meta", "x_g1_t0"),
        ("x_g1_t0.nidq.wiring.json", "x_g1_t0"),
        ("x_g1_t0.nidq", "x_g1_t0"),
        ("x_g1_t0", "x_g1_t0"),
    ],
)
def test_the_stem_of_a_recording_is_what_the_names_of_its_files_share(name, stem):
    assert stem_of(name) == stem


def test_a_recording_is_not_read_by_the_header_of_another(workspace, header):
    recorded(workspace, header, "x_g0_t0").unlink()
    path = recorded(workspace, header, "x_g1_t0")
    path.with_suffix(".meta").unlink()
    with pytest.raises(MissingFile, match=r"no header.*that of another recording: x_g0_t0\.nidq\.meta"):
        fronts(workspace)


def test_a_header_of_another_recording_beside_it_changes_nothing(workspace, header):
    other = recorded(workspace, header, "x_g0_t0")
    other.unlink()
    text = other.with_suffix(".meta").read_text().replace("niSampRate=", "niSampRate=1")
    other.with_suffix(".meta").write_text(text)
    recorded(workspace, header, "x_g1_t0")
    np.testing.assert_allclose(fronts(workspace), [0.1, 0.2], atol=1e-4)


def test_several_recordings_are_named_and_one_that_is_named_is_read(workspace, header):
    recorded(workspace, header, "x_g0_t0")
    recorded(workspace, header, "x_g1_t0", (0.3, 0.4))
    with pytest.raises(UnusableFile, match=r"several recordings.*x_g0_t0, x_g1_t0.*recording: x_g0_t0"):
        fronts(workspace)
    np.testing.assert_allclose(fronts(workspace, recording="x_g1_t0"), [0.3, 0.4], atol=1e-4)
    np.testing.assert_allclose(fronts(workspace, recording="x_g0_t0.nidq.bin"), [0.1, 0.2], atol=1e-4)
    with pytest.raises(MissingFile, match="x_g2_t0"):
        fronts(workspace, recording="x_g2_t0")


def test_the_description_names_the_recording(workspace, header):
    recorded(workspace, header, "x_g0_t0")
    recorded(workspace, header, "x_g1_t0")
    text = "sync: {nidq: {collection: raw_ephys_data, recording: x_g1_t0}}\ndevices: {cameras: {left: {}}}\n"
    (workspace.session.path / "_ibl_experiment.description.yaml").write_text(text)
    task = ibd.VideoSyncQcNidq(workspace.session.path)
    assert task.sync_files.recording == "x_g1_t0"
    assert task.arguments()["recording"] == "x_g1_t0"
    specs = {spec.name: spec for spec in ibd.make_pipeline(workspace.session.path).specs}
    assert specs["VideoSyncQC_nidq"].arguments["recording"] == "x_g1_t0"


@pytest.mark.parametrize(
    ("there", "extension", "taken"),
    [
        (("bin",), None, "bin"),
        (("bin",), "cbin", "bin"),
        (("cbin", "ch"), "bin", "cbin"),
        (("bin", "cbin", "ch"), "bin", "bin"),
        (("bin", "cbin", "ch"), "cbin", "cbin"),
        (("bin", "cbin", "ch"), None, "cbin"),
        (("bin", "cbin"), None, "bin"),
        (("cbin",), None, "cbin"),
    ],
)
def test_of_one_recording_in_two_forms_the_one_that_can_be_read_is_taken(workspace, there, extension, taken):
    for kind in there:
        (workspace.session.path / SYNC / f"x.nidq.{kind}").touch()
    (found,) = find_recordings(workspace.session, SYNC, extension)
    assert [path.name for path in found.samples] == [f"x.nidq.{taken}"]


def compressed(workspace, header):
    spikeglx = pytest.importorskip("spikeglx", reason="needs the field's library: pip install 'ibl_dask[spikeglx]'")
    path = recorded(workspace, header, "x_g0_t0", np.arange(0.1, 1.5, 0.1)[:2])
    with spikeglx.Reader(path) as reader:
        made = reader.compress_file(keep_original=True)
    path.unlink()
    return made


def test_files_of_a_compressed_recording_are_found_whatever_their_uuids(workspace, header):
    path = compressed(workspace, header)
    expected = fronts(workspace)
    workspace.fronts_file.unlink()
    for unique, file in zip(UUIDS, (path, path.with_suffix(".ch"), path.with_suffix(".meta")), strict=True):
        file.rename(file.with_name(f"{file.stem}.{unique}{file.suffix}"))
    np.testing.assert_array_equal(fronts(workspace), expected)


def test_a_compressed_recording_without_its_channel_file_is_named_with_advice(workspace, header):
    path = compressed(workspace, header)
    path.with_suffix(".ch").unlink()
    with pytest.raises(MissingFile, match=r"no channel file.*x_g0_t0\.nidq\.ch beside.*copy it from"):
        fronts(workspace)


@pytest.mark.parametrize("kind", ["cbin", "bin", "ch"])
def test_a_recording_that_was_cut_is_named_with_both_sizes_and_advice(workspace, header, kind):
    path = recorded(workspace, header, "x_g0_t0") if kind == "bin" else compressed(workspace, header)
    damaged = path.with_suffix(f".{kind}")
    damaged.write_bytes(damaged.read_bytes()[:-100])
    error = UnusableFile if kind == "ch" else TruncatedFile
    with pytest.raises(error) as caught:
        fronts(workspace)
    assert damaged.name in caught.value.where
    assert "again from" in caught.value.do


def test_a_header_with_a_byte_order_mark_and_lines_of_windows_is_read(workspace, header):
    path = recorded(workspace, header, "x_g0_t0").with_suffix(".meta")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    np.testing.assert_allclose(fronts(workspace), [0.1, 0.2], atol=1e-4)


# -- two files of one kind ---------------------------------------------------------------------------------


def twice(path, content, keep_plain=False):
    """Put a second file of a kind beside one, under names that differ in their UUIDs."""
    first = path if keep_plain else path.rename(path.with_name(f"{path.stem}.{UUIDS[0]}{path.suffix}"))
    second = path.with_name(f"{path.stem}.{UUIDS[1]}{path.suffix}")
    second.write_bytes(content)
    return first, second


@pytest.mark.parametrize("keep_plain", [True, False])
def test_copies_of_equal_bytes_are_one_file_and_others_are_both_named(workspace, keep_plain):
    path = workspace.session.path / SYNC / "x.bin"
    path.write_bytes(b"a" * 100)
    first, second = twice(path, b"a" * 100, keep_plain)
    assert alf.find(workspace.session, SYNC, "x.bin") == first
    second.write_bytes(b"b" * 100)
    with pytest.raises(UnusableFile) as caught:
        alf.find(workspace.session, SYNC, "x.bin")
    assert first.name in caught.value.got
    assert second.name in caught.value.got
    assert alf.find_each(workspace.session, SYNC, "x.bin") == [first, second]
    second.unlink()
    assert alf.find(workspace.session, SYNC, "x.bin") == first


def test_a_file_of_the_outputs_hides_its_namesake_with_a_uuid(tmp_path, workspace):
    session = Session(workspace.session.path, tmp_path / "out")
    (session.outputs / "raw").mkdir(parents=True)
    (session.path / "raw").mkdir()
    (session.path / "raw" / f"x.{UUIDS[0]}.bin").write_bytes(b"old")
    (session.outputs / "raw" / "x.bin").write_bytes(b"new")
    assert alf.find(session, "raw", "x.bin") == session.outputs / "raw" / "x.bin"


@pytest.mark.parametrize("names", [("", f".{UUIDS[0]}"), (f".{UUIDS[0]}", f".{UUIDS[1]}")])
def test_two_descriptions_that_differ_are_named_and_one_of_another_name_is_none(workspace, names):
    folder = workspace.session.path
    (folder / "_ibl_experiment.description-old.yaml").write_text("projects: [old]\n")
    for name in names:
        (folder / f"_ibl_experiment.description{name}.yaml").write_text("projects: [a]\n")
    assert Session(folder).description.projects == ("a",)
    (folder / f"_ibl_experiment.description{names[1]}.yaml").write_text("projects: [b]\n")
    with pytest.raises(InputError, match="several descriptions"):
        _ = Session(folder).description


def test_settings_of_two_protocols_do_not_say_what_was_recorded(workspace):
    folder = workspace.session.path / "raw_behavior_data"
    folder.mkdir()
    for unique, protocol in zip(UUIDS, ("ephysChoiceWorld", "trainingChoiceWorld"), strict=False):
        (folder / f"_iblrig_taskSettings.raw.{unique}.json").write_text(f'{{"PYBPOD_PROTOCOL": "{protocol}"}}')
    with pytest.raises(InputError, match=r"ephysChoiceWorld in .*trainingChoiceWorld in "):
        _ = Session(workspace.session.path).description
