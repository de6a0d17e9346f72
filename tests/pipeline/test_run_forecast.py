"""A run is forecast from some of its sessions: bytes for each folder, core-hours."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.model.disk_needs import Need
from ibl_dask.pipeline.run import run
from ibl_dask.pipeline.run_forecast import RunForecast, forecast_run, spread
from ibl_dask.synth.session import write_session

PLACE = Path("Subjects") / "SW_001" / "2023-05-01" / "001"


@given(n=st.integers(0, 300), n_first=st.integers(1, 300))
def test_a_sample_holds_each_session_once_and_is_spread_over_all(n: int, n_first: int) -> None:
    order = list(spread(n))
    assert sorted(order) == list(range(n))
    first = sorted(order[:n_first])
    gaps = [after - before for before, after in pairwise([*first, n])]
    assert not gaps or max(gaps) <= 4 * n / len(first) + 1


def needs(found: RunForecast) -> dict[str, Need]:
    return {need.place: need for need in found.needs}


@pytest.mark.parametrize("encoding", ["ibl", None])
def test_what_a_run_writes_was_forecast_and_not_by_far_too_much(tmp_path: Path, encoding: str | None) -> None:
    session, options = tmp_path / PLACE, {} if encoding is None else {"encoding": encoding}
    write_session(session, duration_s=2, scale=0.125, gop=12, raw_avi=encoding is not None, cameras=("left", "right"))
    before = {path: path.stat().st_size for path in session.rglob("*") if path.is_file()}
    found = needs(forecast_run([session], 1, work_dir=tmp_path / "work", **options))
    result = run([session], work_dir=tmp_path / "work", **options)
    assert result.exit_code == 0
    after = {path: path.stat().st_size for path in session.rglob("*") if path.is_file()}
    written = sum(size for path, size in after.items() if before.get(path) != size)
    assert written / 1.2 < found["results"].n_bytes < 6 * written
    journal = sum(path.stat().st_size for path in result.journal.glob("events-*"))
    assert journal / 1.5 < found["journal"].n_bytes < 3 * journal
    assert found["results"].folder == session
    assert found["scratch"].folder == found["journal"].folder == tmp_path / "work"
    again = forecast_run([session], 1, work_dir=tmp_path / "work", **options)
    assert again.core_s == 0
    assert needs(again)["results"].n_bytes < 1e6, "lists are made anew"


def test_the_rest_of_a_large_run_is_taken_to_be_like_the_sample(tmp_path: Path) -> None:
    first = tmp_path / PLACE
    write_session(first, duration_s=2, scale=0.125, gop=40, cameras=("left",))
    sessions = [first]
    for number in range(2, 101):
        session = first.with_name(f"{number:03}")
        session.symlink_to(first)
        sessions.append(session)
    one = forecast_run(sessions[:1], 2, work_dir=tmp_path / "work")
    sampled = forecast_run(sessions, 2, work_dir=tmp_path / "work", sample_s=0)
    assert (sampled.n_sessions, sampled.n_sampled) == (100, 1)
    assert sampled.core_s == pytest.approx(100 * one.core_s)
    assert needs(sampled)["results"].n_bytes == 100 * needs(one)["results"].n_bytes
    # Scratch of complete sessions is gone: that of a few counts, whatever their number.
    scratch = needs(sampled)["scratch"].n_bytes / needs(one)["scratch"].n_bytes
    assert 2 < scratch < 20
    assert forecast_run(sessions, 2, work_dir=tmp_path / "work", sample_s=60).n_sampled == 100


def test_sessions_that_cannot_be_planned_count_for_nothing(tmp_path: Path) -> None:
    absent, empty = tmp_path / PLACE, tmp_path / PLACE.with_name("002")
    empty.mkdir(parents=True)
    found = forecast_run([absent, empty], 2, work_dir=tmp_path / "work")
    assert (found.n_sampled, found.needs, found.core_s) == (2, (), 0)
