"""Conformance of a batch system: a class of tests that each of them passes, with its own recorded answers.

A new batch system is tested by a subclass whose name begins with `Test` and which fills in the attributes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ibl_dask.deploy.batch_systems import commands
from ibl_dask.deploy.batch_systems.protocol import BatchSystem, JobRequest
from ibl_dask.deploy.batch_systems.refusals import refusal_text
from ibl_dask.deploy.batch_systems.registry import BATCH_SYSTEMS, ask_job, batch_system, format_names, own_job
from ibl_dask.deploy.cluster.failure_advice import given_up
from ibl_dask.deploy.cluster.job_script import job_script, make_job
from ibl_dask.deploy.cluster.node_exclusion import can_exclude, exclude_nodes
from ibl_dask.deploy.cluster.scaling import Health
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.deploy.site.validation import profile_errors

GOLDEN = Path(__file__).resolve().parents[1] / "deploy" / "golden"


@dataclass(frozen=True)
class Answer:
    """A recorded answer about one job."""

    state: str
    """State that it means."""
    out: str = ""
    err: str = ""
    code: int = 0


class BatchSystemTests:
    """Tests of one batch system."""

    system: BatchSystem
    """The batch system."""
    job_number: str
    """Number of a job, as it stands in the environment."""
    job_id: str
    """The same, as submission returns it and logs are named."""
    environment: dict[str, str]
    """Environment of that job."""
    node: str = ""
    """Name of its node there; empty where nodes cannot be excluded."""
    submitted: str
    """Output of a submission."""
    queue: str
    """Output of the queue command: jobs that run, wait and (if listed) have ended."""
    expected_queue: dict[str, str]
    """State of each job in it that has not ended."""
    answers: Sequence[Answer]
    """Recorded answers about the job of `job_number`."""
    refusals: dict[str, str]
    """Recorded refusal -> key of a pool that it concerns."""
    walltimes: dict[str, int | None]
    """Time limit as the batch system prints it -> s."""
    exceeded: tuple[str, str]
    """Details and log of a job that its time limit of one hour ended."""
    not_exceeded: Sequence[tuple[str, str]] = (("", ""),)
    """Details and logs of jobs that something else ended."""
    bad_directives: dict[str, str]
    """Directive that a profile refuses -> words of the message."""

    # Registry and profile.

    def test_a_profile_may_name_it(self) -> None:
        assert batch_system(self.system.name) is BATCH_SYSTEMS[self.system.name]
        assert type(batch_system(self.system.name)) is type(self.system)
        assert self.system.name in format_names("local")

    def test_the_shipped_profile_is_of_it(self, pytestconfig: pytest.Config) -> None:
        profile = read_profile(pytestconfig.rootpath / "cluster" / f"{self.system.name}.yaml")
        assert {pool.scheduler for pool in profile.pools} == {self.system.name}

    def test_a_directive_that_a_key_writes_or_that_makes_many_jobs_is_refused(self) -> None:
        for directive, words in self.bad_directives.items():
            pool = Pool("cpu", self.system.name, directives=(directive,))
            (error,) = profile_errors(Profile(pools=(pool,)))
            assert words in str(error), directive

    def test_a_marked_directive_is_refused_with_the_text_to_write(self) -> None:
        pool = Pool("cpu", self.system.name, directives=(f"#{self.system.directive_prefix} --x=1",))
        (error,) = profile_errors(Profile(pools=(pool,)))
        assert "write `--x=1`" in error.do

    # Job script.

    def pools(self) -> list[tuple[Profile, Pool]]:
        profile = replace(read_profile(GOLDEN / f"{self.system.name}.yaml"), source=Path("site.yaml"))
        return [(profile, pool) for pool in profile.pools]

    def test_each_pool_of_the_golden_profile_has_a_script_with_its_directives(self, tmp_path: Path) -> None:
        for profile, pool in self.pools():
            assert (GOLDEN / f"{self.system.name}_{pool.name}.sh").is_file()
            lines = job_script(profile, pool, "x-1", "tcp://a:1", log_folder=tmp_path).splitlines()
            mark = f"#{self.system.directive_prefix} "
            assert sum(line.startswith(mark) for line in lines) >= 3
            assert all(f"{mark}{directive}" in lines for directive in pool.directives)

    def test_options_follow_from_the_request(self, tmp_path: Path) -> None:
        request = JobRequest("x-1", tmp_path, cores=6, memory_gb=1.5, gpus=3, walltime_s=3661, directives=("--x",))
        text = str(self.system.job_options(request))
        assert re.search(r"\b6\b", text)
        assert "1500" in text
        assert re.search(r"gpu.{0,6}[:=]3\b", text)
        assert self.system.format_walltime(3661) in text
        assert "--x" in text
        assert "gpu" not in str(self.system.job_options(replace(request, gpus=0)))

    def test_a_group_is_named_by_a_directive_or_the_prologue(self, tmp_path: Path) -> None:
        plain = JobRequest("x-1", tmp_path)
        grouped = replace(plain, group="my_lab", group_line="site.yaml, line 3")
        of_group = [str(self.system.job_options(grouped)), *self.system.prologue(grouped)]
        assert "my_lab" in "\n".join(of_group)
        assert "my_lab" not in "\n".join([str(self.system.job_options(plain)), *self.system.prologue(plain)])

    def test_the_log_lies_in_its_folder_under_the_name_of_the_job(self, tmp_path: Path) -> None:
        request = JobRequest("x-1", tmp_path / "job logs")
        text = "\n".join([str(self.system.job_options(request)), *self.system.prologue(request)])
        assert f"{tmp_path / 'job logs'}/x-1-" in text

    # Walltime.

    @pytest.mark.parametrize("seconds", [1, 59, 3600, 86_399, 90_061, 1_000_000])
    def test_a_walltime_is_parsed_as_it_is_formatted(self, seconds: int) -> None:
        parsed = self.system.parse_walltime(self.system.format_walltime(seconds))
        assert parsed is not None
        assert 0 <= parsed - seconds < 60  # some count whole minutes

    def test_printed_walltimes_are_parsed(self) -> None:
        assert {text: self.system.parse_walltime(text) for text in self.walltimes} == self.walltimes

    def test_a_job_that_its_walltime_ended_is_told_from_others(self) -> None:
        assert self.system.exceeded_walltime_s(*self.exceeded) == 3600
        for details, log in self.not_exceeded:
            assert self.system.exceeded_walltime_s(details, log) is None

    # Submission and cancellation.

    def command(self, folder: Path, name: str, text: str, shown: Path | None = None) -> None:
        path = folder / name
        note = f'echo "{name} $*" >>{shown}\n' if shown else ""
        path.write_text(f"#!/bin/sh\n{note}{text}\n")
        path.chmod(0o755)

    def job(self, folder: Path, **more: object):
        pool = Pool("cpu", self.system.name, **more)
        return make_job(Profile(pools=(pool,)), pool, "cpu-0", "tcp://a:1", log_folder=folder)

    def test_a_job_is_submitted_and_cancelled_by_its_commands(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job, calls = self.job(tmp_path), tmp_path / "calls"
        assert job.job_id is None
        assert {job.submit_command, job.cancel_command} <= {*self.system.commands}
        self.command(tmp_path, job.submit_command, f"echo '{self.submitted}'", calls)
        self.command(tmp_path, job.cancel_command, "", calls)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

        async def live() -> None:
            await job.start()
            assert job.job_id == self.job_id
            await job.close()

        asyncio.run(live())
        submitted, cancelled = calls.read_text().splitlines()
        assert submitted.startswith(job.submit_command)
        assert cancelled == f"{job.cancel_command} {self.job_id}"

    def test_a_refusal_is_known_by_the_words_of_the_command_and_the_key_that_it_concerns(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = self.job(tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        for said, key in self.refusals.items():
            self.command(tmp_path, job.submit_command, f"echo '{said}' >&2; exit 1")
            with pytest.raises(RuntimeError) as caught:
                asyncio.run(job.start())
            text = refusal_text(caught.value)
            assert text == said
            pool = Pool("cpu", self.system.name)
            assert f"give `{key}` " in str(given_up(Profile(pools=(pool,)), pool, Health(4, reason=text)))

    # Queue.

    def test_jobs_in_the_queue_are_those_that_have_not_ended(self) -> None:
        assert {n: job.state for n, job in self.system.parse_queue(self.queue).items()} == self.expected_queue

    @pytest.mark.parametrize("text", ["", "\n", "no jobs for anne\n"])
    def test_an_empty_queue_has_no_job(self, text: str) -> None:
        assert self.system.parse_queue(text) == {}

    def test_a_queue_that_does_not_answer_is_not_an_empty_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = self.system.queue_command("anne")[0]
        monkeypatch.setenv("PATH", str(tmp_path))
        assert asyncio.run(commands.read_queue(self.system)) is None
        self.command(tmp_path, program, "exit 1")
        assert asyncio.run(commands.read_queue(self.system)) is None
        self.command(tmp_path, program, "exit 0")
        assert asyncio.run(commands.read_queue(self.system)) == {}

    def test_states_are_told_apart(self) -> None:
        system = self.system
        assert system.running_states
        assert not system.running_states & (system.requeued_states | system.ending_states)
        assert system.running_states & {*self.expected_queue.values()}

    # One job.

    def test_recorded_answers_about_one_job_are_understood(self) -> None:
        for answer in self.answers:
            found = self.system.parse_state(self.job_number, answer.code, answer.out, answer.err)
            assert found == answer.state, answer
        assert {answer.state for answer in self.answers} >= {"running", "suspended", "ended", "unknown"}

    def test_a_job_is_asked_about_by_the_number_in_its_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.system.job_number(self.environment) == own_job(self.environment) == self.job_number
        assert self.system.job_number({}) == own_job({}) == ""
        assert self.system.is_job_number(self.job_number)
        assert not self.system.is_job_number("interactive")
        running = next(answer for answer in self.answers if answer.state == "running")
        program = self.system.state_command(self.job_number)[0]
        self.command(tmp_path, program, f"/bin/cat <<'X'\n{running.out}\nX")
        monkeypatch.setenv("PATH", str(tmp_path))
        assert ask_job(self.job_number) == "running"

    def test_a_job_that_ended_is_described_by_its_details_and_its_log(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "no log" in asyncio.run(commands.describe_ended(self.system, self.job_id, [tmp_path]))
        (tmp_path / f"cpu-0-{self.job_id}.log").write_text("no module named conda\n")
        if command := self.system.details_command(self.job_id):
            self.command(tmp_path, command[0], f"/bin/cat <<'X'\n{self.exceeded[0]}\nX")
        text = asyncio.run(commands.describe_ended(self.system, self.job_id, [tmp_path]))
        assert text.endswith("no module named conda")
        assert self.system.parse_details(self.exceeded[0]) in text

    # Nodes and GPUs.

    def test_nodes_are_excluded_where_there_is_an_option_and_nowhere_else(self) -> None:
        pool = Pool("gpu", self.system.name)
        assert self.system.node_name(self.environment) == self.node
        assert not can_exclude(pool, [])
        assert exclude_nodes(pool, []) is pool
        assert self.system.exclude_command("7", (), []) == ()
        assert can_exclude(pool, ["n3"]) == bool(self.node) == bool(self.system.exclude_option)
        if not self.node:
            assert exclude_nodes(pool, ["n3"]) is pool
            assert self.system.exclude_command("7", (), ["n3"]) == ()
            return
        excluding = exclude_nodes(pool, ["n3"])
        assert excluding.directives == (self.system.exclude_option.format(node="n3"),)
        both = exclude_nodes(excluding, ["n4"]).directives
        assert len(both) == 1
        assert {"n3", "n4"} <= {*re.findall(r"n\d", both[0])}
        command = " ".join(self.system.exclude_command("7", excluding.directives, ["n4"]))
        assert "n3" in command
        assert "n4" in command

    def test_outside_of_a_job_nothing_is_known_of_node_and_gpus(self) -> None:
        assert self.system.node_name({}) == ""
        assert not self.system.is_without_gpu({})
