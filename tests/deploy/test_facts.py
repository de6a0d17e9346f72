import resource
import sys
import time

import dask

import ibl_dask
from ibl_dask.deploy.doctor import facts
from ibl_dask.deploy.doctor.facts import gather


def test_all_is_found_out_about_this_process(tmp_path):
    found = gather(tmp_path, n_mb=4)
    assert found.versions["dask"] == dask.__version__
    assert found.versions["ibl_dask"] == ibl_dask.__version__
    assert found.python == sys.executable
    assert set(found.codecs.values()) == {""}
    assert found.open_files == resource.getrlimit(resource.RLIMIT_NOFILE)
    assert found.gpu is None
    for disk in (found.work, found.local):
        assert not disk.problem
        assert min(disk.free_gb, disk.write_mb_s, disk.read_mb_s, disk.small_file_ms) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_is_looked_at_where_there_should_be_one(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "99")
    found = gather(tmp_path, has_gpu=True, n_mb=4)
    assert found.gpu is not None
    assert found.gpu.problem
    monkeypatch.setenv("IBL_DASK_GPU_CHECK", "none")
    found = gather(tmp_path, has_gpu=True, n_mb=4)
    assert found.gpu == facts.Gpu("99")


def test_any_change_of_the_source_changes_its_digest(tmp_path):
    (tmp_path / "a.py").write_text("x = 1")
    digests = [facts.digest_source(tmp_path)]
    (tmp_path / "a.py").write_text("x = 2")
    digests.append(facts.digest_source(tmp_path))
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    digests.append(facts.digest_source(tmp_path))
    assert len({*digests, facts.digest_source()}) == 4


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(facts, "PACKAGES", ("dask", "no-such-package"))
    assert facts.read_versions()["no-such-package"] == ""


def test_the_clock_is_that_of_this_machine():
    assert abs(facts.now_s() - time.time()) < 1
