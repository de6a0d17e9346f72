"""Engines stay warm between chunks, share a process, and leave it when nobody needs them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from faulty_engines import faulty, is_running, numbered, wait_for

from ibl_dask.errors import TaskTimedOut
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host import warm_engines
from ibl_dask.pose.host.warm_engines import WarmEngines, open_engine, release_engines


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def discs(**options: object) -> EngineSettings:
    return EngineSettings("discs", "synthetic", options=options)


def test_chunks_one_after_another_use_one_process(tmp_path):
    engines = WarmEngines(folders=[tmp_path])
    found = set()
    for _ in range(3):
        with engines.open(discs()) as engine:
            engine.predict(numbered(2))
            found.update(engines.processes)
    assert len(found) == 1
    engines.release()
    assert not any(map(is_running, found))


def test_networks_of_one_environment_share_a_process_and_devices_do_not(tmp_path):
    engines = WarmEngines(folders=[tmp_path])
    with engines.open(discs(halo=1)) as first, engines.open(discs(halo=2)) as second:
        assert (first.info.halo, second.info.halo) == (1, 2)
        assert len(engines.processes) == 1
        with engines.open(discs(), "cuda:1"):
            assert len(engines.processes) == 2
    engines.release()


def test_a_host_ends_once_it_was_idle_for_its_time(tmp_path):
    clock = Clock()
    engines = WarmEngines(idle_s=30.0, clock=clock, folders=[tmp_path])
    with engines.open(discs()):
        (pid,) = engines.processes
        clock.now_s = 100.0
        engines.release_idle()
        assert engines.processes == (pid,), "it is in use"
    clock.now_s = 129.0
    engines.release_idle()
    assert engines.processes == (pid,)
    clock.now_s = 130.0
    engines.release_idle()
    assert engines.processes == ()
    assert not is_running(pid)
    with engines.open(discs()) as engine:
        assert len(engine.predict(numbered(2))) == 2
    engines.release()


def test_a_release_spares_engines_in_use(tmp_path):
    engines = WarmEngines(folders=[tmp_path])
    with engines.open(discs()) as engine:
        engines.release()
        (pid,) = engines.processes
        assert len(engine.predict(numbered(2))) == 2
        assert engines.processes == (pid,)
    engines.release()
    assert engines.processes == ()


def test_an_error_of_one_chunk_leaves_the_engine_to_the_next(tmp_path):
    engines = WarmEngines(folders=[tmp_path])
    with pytest.raises(ZeroDivisionError), engines.open(discs()):
        raise ZeroDivisionError
    engines.release()
    assert engines.processes == (), "it counts as unused"


def test_threads_share_a_host(tmp_path):
    engines = WarmEngines(folders=[tmp_path])
    found = {}

    def work(number: int) -> None:
        frames = numbered(40) + np.uint8(number)
        with engines.open(discs(threshold=0.0, least_px=1, batch=3)) as engine:
            found[number] = (engine.predict(frames), frames)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2]
    for number, (rows, _) in found.items():
        assert np.isnan(rows[0, 0, 0]) == (number == 0), "the first frame of number 0 is black"
        assert rows[1, 0].tolist() == [3.5, 2.5, 1.0]
    assert len(engines.processes) == 1
    engines.release()


def test_the_engines_of_a_process_end_by_themselves(monkeypatch):
    monkeypatch.setattr(warm_engines, "LOOK_S", 0.05)
    monkeypatch.setattr(warm_engines, "IDLE_S", 0.1)
    warm_engines._engines_of_process.cache_clear()
    with open_engine(discs()) as engine:
        assert len(engine.predict(numbered(3))) == 3
        (pid,) = warm_engines._engines_of_process().processes
    assert wait_for(lambda: not is_running(pid))
    release_engines()
    warm_engines._engines_of_process.cache_clear()


def test_a_time_out_belongs_to_the_engine_and_not_to_the_host(tmp_path, monkeypatch):
    from faulty_engines import ADAPTER

    from ibl_dask.pose.host import hosted_engine

    monkeypatch.setattr(hosted_engine, "adapter_file", lambda kind: ADAPTER)
    engines = WarmEngines(folders=[tmp_path])
    with engines.open(faulty()) as good, engines.open(faulty(fault="hangs", batch_s=1.0)) as bad:
        with pytest.raises(TaskTimedOut):
            bad.predict(numbered(2))
        assert good.predict(numbered(5))[:, 0, 0].tolist() == [0, 1, 2, 3, 4], "in a new process"
    engines.release()
