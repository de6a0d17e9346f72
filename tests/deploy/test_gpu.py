import ctypes
import json
import os
import subprocess
import sys

import pytest

from ibl_dask.deploy.cluster import gpu, gpu_probe
from ibl_dask.deploy.cluster.gpu import CHECK_VARIABLE, Gpu, check_gpu, is_check_enabled, take_gpu
from ibl_dask.deploy.cluster.gpu_claim import claim, granted, job_of
from ibl_dask.errors import RunError, UsageError


class FakeDriver:
    """What NVIDIA's library answers, for as many GPUs as wanted; one function may fail."""

    def __init__(self, n_gpus=1, broken="", forgetful=False):
        self._n_gpus, self._broken, self._forgetful = n_gpus, broken, forgetful
        self._pattern = 0
        self.calls = []

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append(name)
            if name == self._broken:
                return 46
            answer = getattr(type(self), f"_{name}", None)
            if answer is not None:
                answer(self, *arguments)
            return 0

        return call

    def cuGetErrorString(self, code, text):  # noqa: N802
        text._obj.value = b"CUDA-capable device(s) is/are busy or unavailable"

    def _cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = self._n_gpus

    def _cuDeviceGet(self, device, number):  # noqa: N802
        device._obj.value = number

    def _cuDeviceGetName(self, name, size, device):  # noqa: N802
        name.value = f"Fake {device.value}".encode()

    def _cuDeviceGetUuid(self, identity, device):  # noqa: N802
        identity._obj[:] = bytes([device.value] * 16)

    def _cuMemGetInfo_v2(self, free, total):  # noqa: N802
        free._obj.value, total._obj.value = 6_000_000_000, 8_000_000_000

    def _cuMemsetD8_v2(self, memory, value, size):  # noqa: N802
        self._pattern = value.value

    def _cuMemcpyDtoH_v2(self, back, memory, size):  # noqa: N802
        ctypes.memset(back, 0 if self._forgetful else self._pattern, size.value)


def test_the_probe_uses_every_gpu_it_sees():
    driver = FakeDriver(2)
    first, second = gpu_probe.probe(driver)
    assert first == {
        "uuid": "GPU-00000000-0000-0000-0000-000000000000",
        "name": "Fake 0",
        "total_gb": 8.0,
        "free_gb": 6.0,
        "problem": "",
    }
    assert second["name"] == "Fake 1"
    assert driver.calls.count("cuMemAlloc_v2") == driver.calls.count("cuMemFree_v2") == 2


@pytest.mark.parametrize("function", ["cuDevicePrimaryCtxRetain", "cuMemAlloc_v2", "cuMemsetD8_v2", "cuMemcpyDtoH_v2"])
def test_the_probe_says_which_call_a_broken_gpu_refuses(function):
    (found,) = gpu_probe.probe(FakeDriver(broken=function))
    assert found["problem"] == f"{function}: CUDA-capable device(s) is/are busy or unavailable (error 46)"


def test_a_gpu_that_forgets_what_is_written_to_it_is_broken():
    (found,) = gpu_probe.probe(FakeDriver(forgetful=True))
    assert "does not hold" in found["problem"]


def test_a_driver_that_does_not_start_is_told(monkeypatch, capsys):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeDriver(broken="cuInit"))
    gpu_probe.main()
    assert json.loads(capsys.readouterr().out)["problem"].startswith("cuInit: ")


def test_a_node_without_driver_is_told(monkeypatch, capsys):
    monkeypatch.setattr(gpu_probe, "_LIBRARY", "libcuda-that-nobody-has.so.1")
    gpu_probe.main()
    assert "driver library is not there" in json.loads(capsys.readouterr().out)["problem"]


def test_what_pytorch_says_against_a_gpu_is_part_of_the_answer(monkeypatch, capsys):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeDriver())
    monkeypatch.setattr(gpu_probe, "torch_problem", lambda: "PyTorch cannot use it: too old")
    gpu_probe.main()
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert device["problem"] == "PyTorch cannot use it: too old"


def with_torch(folder, monkeypatch, text):
    (folder / "torch.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    try:
        return gpu_probe.torch_problem()
    finally:
        sys.modules.pop("torch", None)


def test_pytorch_is_asked_only_where_it_is_made_for_gpus(tmp_path, monkeypatch):
    assert with_torch(tmp_path, monkeypatch, "class version: cuda = None") == ""


def test_pytorch_that_cannot_use_the_gpu_is_a_problem(tmp_path, monkeypatch):
    text = "class version: cuda = '12.4'\ndef ones(n, device):\n    raise RuntimeError('no kernel image')\n"
    assert with_torch(tmp_path, monkeypatch, text) == "PyTorch cannot use it: no kernel image"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": "0"}, ("0",)),
        ({"CUDA_VISIBLE_DEVICES": "2, 3"}, ("2", "3")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1a2b,MIG-3c/4/0"}, ("GPU-1a2b", "MIG-3c/4/0")),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,2"}, ("0",)),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),
        ({"SLURM_JOB_ID": "7"}, ()),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "1"}, None),
        ({"PBS_JOBID": "7.head"}, None),
    ],
)
def test_what_the_batch_system_gave_is_understood(environment, expected):
    assert granted(environment) == expected


def test_each_worker_of_a_job_has_a_gpu_of_its_own():
    job = f"test/{os.getpid()}/own"
    # The second comes first, and the last one's name says nothing.
    first, lock = claim(["4", "5", "6"], "gpu-3-1", job)
    second, lock2 = claim(["4", "5", "6"], "gpu-3-0", job)
    third, lock3 = claim(["4", "5", "6"], "worker", job)
    with lock, lock2, lock3:
        assert (first, second, third) == ("5", "4", "6")
        with pytest.raises(RunError, match="no GPU for itself") as caught:
            claim(["4", "5", "6"], "gpu-3-2", job)
        assert "gpus" in caught.value.do


def test_the_number_of_a_job_is_not_the_number_of_a_gpu():
    device, lock = claim(["0", "1"], "gpu-17", f"test/{os.getpid()}/number")
    with lock:
        assert device == "0"


def test_a_claim_ends_when_its_holder_does():
    job = f"test/{os.getpid()}/end"
    claim(["0"], "gpu-0", job)[1].close()
    device, lock = claim(["0"], "gpu-0", job)
    with lock:
        assert device == "0"


def test_two_jobs_on_a_node_may_each_call_their_gpu_0_but_a_name_means_one_gpu():
    mine, other = f"test/{os.getpid()}/mine", f"test/{os.getpid()}/other"
    with claim(["0"], "gpu-0", mine)[1], claim(["0"], "gpu-1", other)[1]:
        pass
    name = f"GPU-{os.getpid()}"
    with claim([name], "gpu-0", mine)[1], pytest.raises(RunError):
        claim([name], "gpu-1", other)


def test_jobs_are_told_apart_by_number_and_process():
    assert job_of({"SLURM_JOB_ID": "7"}, 1) != job_of({"SLURM_JOB_ID": "8"}, 1) != job_of({"SLURM_JOB_ID": "8"}, 2)


def test_the_setting_of_the_check_is_understood_or_refused():
    assert is_check_enabled({})
    assert not is_check_enabled({CHECK_VARIABLE: "none"})
    with pytest.raises(UsageError, match=CHECK_VARIABLE) as caught:
        is_check_enabled({CHECK_VARIABLE: "maybe"})
    assert "cuda or none" in str(caught.value)


def probing(monkeypatch, tmp_path, text):
    """Let the process that looks at GPUs be this program instead."""
    program = tmp_path / "probe.py"
    program.write_text(f"#!{sys.executable}\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setattr(gpu.sys, "executable", str(program))


def answering(monkeypatch, tmp_path, n_gpus):
    gpus = [
        {"uuid": f"GPU-{os.getpid()}-{i}", "name": "Fake", "total_gb": 8.0, "free_gb": 6.0, "problem": ""}
        for i in range(n_gpus)
    ]
    probing(monkeypatch, tmp_path, f"print('a warning'); print({json.dumps({'devices': gpus})!r})")


def test_a_gpu_that_works_is_described(monkeypatch, tmp_path):
    answering(monkeypatch, tmp_path, 1)
    assert check_gpu("3") == Gpu("3", True, "Fake", 8.0, 6.0, uuid=f"GPU-{os.getpid()}-0")


def test_a_part_of_a_gpu_does_not_go_by_the_name_of_the_whole(monkeypatch, tmp_path):
    answering(monkeypatch, tmp_path, 1)
    assert check_gpu("MIG-5c").uuid == ""


def test_a_gpu_that_is_not_there_is_a_problem(monkeypatch, tmp_path):
    answering(monkeypatch, tmp_path, 0)
    assert check_gpu("3").problem == "CUDA sees 0 GPUs where the batch system gave 3"


def test_a_gpu_that_never_answers_is_a_problem(monkeypatch, tmp_path):
    probing(monkeypatch, tmp_path, "import time; time.sleep(60)")
    assert check_gpu("3", timeout_s=0.5).problem == "it does not answer within 0.5 s"


def test_a_gpu_that_kills_whoever_looks_is_a_problem(monkeypatch, tmp_path):
    probing(monkeypatch, tmp_path, "import sys; print('segfault', file=sys.stderr); sys.exit(139)")
    assert check_gpu("3").problem == "looking at it ended with exit code 139: segfault"


def test_a_worker_hides_the_other_gpus_from_itself(monkeypatch, tmp_path):
    answering(monkeypatch, tmp_path, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setenv("SLURM_JOB_ID", str(os.getpid()))
    found, lock = take_gpu("gpu-0-1")
    with lock:
        assert (found.device, found.problem) == ("3", "")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_where_nobody_says_which_gpus_are_given_they_are_claimed_by_name(monkeypatch, tmp_path):
    answering(monkeypatch, tmp_path, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "x")  # so that it is put back afterwards
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    found, lock = take_gpu("gpu-0")
    with lock:
        assert found.device == os.environ["CUDA_VISIBLE_DEVICES"] == f"GPU-{os.getpid()}-0"


def test_gpus_can_be_taken_unseen(monkeypatch):
    monkeypatch.setenv(CHECK_VARIABLE, "none")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found, lock = take_gpu("gpu-0")
    with lock:
        assert found == Gpu("1")


def test_a_job_without_gpu_is_a_problem_that_says_so(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found, lock = take_gpu("gpu-0")
    assert lock is None
    assert "a job without GPU" in found.problem


def test_looking_at_gpus_here_gives_an_answer_in_json():
    command = [sys.executable, "-m", "ibl_dask.deploy.cluster.gpu_probe"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answer = json.loads(said)
    assert answer.get("problem") or isinstance(answer["devices"], list)
