"""Figures of the documents, taken from the results of the benchmarks, and one table of them all.

    python benchmarks/figures.py            # compare; exit code 1 where a document has another figure than the results
    python benchmarks/figures.py --write    # write the figures into the documents, and benchmarks/results/README.md

`VALUES` says where each figure stands in `benchmarks/results`, `SENTENCES` in which document it is repeated, `ROWS` in
which row of the table. A sentence is found by its words, so it is changed here and there alike.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
NUMBER = r"\d[\d,]*(?:\.\d+)?"


class FiguresError(Exception):
    """A figure is not where it should be."""


@dataclass(frozen=True, slots=True)
class Value:
    """Place of a figure in the results of a benchmark."""

    results: str
    """File in `benchmarks/results`, without suffix."""
    pattern: str
    """Regular expression with the figure as its only group; `.` matches line ends as well."""
    pick: Callable[[Sequence[float]], float] = lambda found: found[0]
    """Choice among all that match."""
    form: str = ""
    """Format of the figure; by default it is written as the results have it, which needs `pick` to be the first."""

    def read(self, folder: Path = RESULTS) -> str:
        """Return the figure.

        Raises
        ------
        FiguresError
            The results hold no such figure.
        """
        path = folder / f"{self.results}.md"
        found = re.findall(self.pattern, path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        if not found:
            raise FiguresError(f"{path} holds nothing that matches {self.pattern!r}; run benchmarks/{self.results}.py")
        if not self.form:
            return str(found[0])
        return self.form.format(self.pick([float(each.replace(",", "")) for each in found]))


def largest_size(found: Sequence[float]) -> float:
    """Return the figure that lies furthest from zero, without its sign."""
    return max(map(abs, found))


_PASS = partial(Value, "frame_pass")
_LEFT, _RIGHT = r"\A.*?### left:.*?", r"\A.*?### right:.*?"
_COMPRESS = partial(Value, "compress")
_THIS_MACHINE = r"(?=.*^## Another machine)"
_SIGNED = rf"([+-]?{NUMBER})"

VALUES: Mapping[str, Value] = {
    "pass_left": _PASS(_LEFT + rf"on 2 workers: {NUMBER} s, ({NUMBER}) times as fast"),
    "pass_right": _PASS(_RIGHT + rf"on 2 workers: {NUMBER} s, ({NUMBER}) times as fast"),
    "pass_left_s": _PASS(_LEFT + rf"on 2 workers: ({NUMBER}) s"),
    "pass_right_s": _PASS(_RIGHT + rf"on 2 workers: ({NUMBER}) s"),
    "pass_left_reference_s": _PASS(_LEFT + rf"Reference on 5,000 frames: ({NUMBER}) s"),
    "pass_right_reference_s": _PASS(_RIGHT + rf"Reference on 5,000 frames: ({NUMBER}) s"),
    "ffmpeg_left": _PASS(_LEFT + rf"-f null \| ({NUMBER}) \|", form="{:,.0f}"),
    "ffmpeg_right": _PASS(_RIGHT + rf"-f null \| ({NUMBER}) \|", form="{:,.0f}"),
    "one_process_left": _PASS(_LEFT + rf"1 process \| {NUMBER} \| ({NUMBER})"),
    "one_process_right": _PASS(_RIGHT + rf"1 process \| {NUMBER} \| ({NUMBER})"),
    "one_process_left_fps": _PASS(_LEFT + rf"1 process \| ({NUMBER}) \|", form="{:,.0f}"),
    "one_process_right_fps": _PASS(_RIGHT + rf"1 process \| ({NUMBER}) \|", form="{:,.0f}"),
    "two_ffmpeg_left": _PASS(_LEFT + rf"two side by side \| {NUMBER} \| {NUMBER}, ({NUMBER}) of twice"),
    "two_ffmpeg_right": _PASS(_RIGHT + rf"two side by side \| {NUMBER} \| {NUMBER}, ({NUMBER}) of twice"),
    "two_workers_left": _PASS(_LEFT + rf"2 workers \| [^\n]*?({NUMBER}) of two side by side"),
    "two_workers_right": _PASS(_RIGHT + rf"2 workers \| [^\n]*?({NUMBER}) of two side by side"),
    "decode_left": _PASS(_LEFT + rf"Decoding alone[^\n]*?({NUMBER}) times as fast"),
    "decode_right": _PASS(_RIGHT + rf"Decoding alone[^\n]*?({NUMBER}) times as fast"),
    "peak_left": _PASS(_LEFT + rf"({NUMBER}) MB after {NUMBER} \(run by itself\)"),
    "peak_right": _PASS(_RIGHT + rf"({NUMBER}) MB after {NUMBER} \(run by itself\)"),
    "read_fps": Value("readers", rf"^\| ibl_dask  \| ({NUMBER})"),
    "read_fps_opencv": Value("readers", rf"^\| OpenCV [\d.]+ \| ({NUMBER})"),
    "read_fps_torchcodec": Value("readers", rf"^\| torchcodec [\d.]+ \| ({NUMBER})"),
    "seek_ms": Value("readers", rf"^\| ibl_dask  (?:\|[^|\n]*){{3}}\| ({NUMBER})", form="{:.0f}"),
    "seek_ms_opencv": Value("readers", rf"^\| OpenCV [\d.]+ (?:\|[^|\n]*){{3}}\| ({NUMBER})", form="{:.0f}"),
    "seek_ms_torchcodec": Value("readers", rf"^\| torchcodec [\d.]+ (?:\|[^|\n]*){{3}}\| ({NUMBER})", form="{:.0f}"),
    "checks_s": Value("camera_qc", rf"together \| \| ({NUMBER})", form="{:.1f}"),
    "checks_reference_s": Value("camera_qc", rf"together \| \| {NUMBER} \| ({NUMBER})", form="{:.1f}"),
    "reading": Value("timing", rf"^\| reading \| .*? ({NUMBER}) \|$", form="{:.0f}"),
    "reading_s": Value("timing", rf"^\| reading \| ({NUMBER})"),
    "reading_reference_s": Value("timing", rf"^\| reading \| {NUMBER} \| ({NUMBER})"),
    "wheel_s": Value("wheel_alignment", rf"right \| 540,000 \| \*\*all three\*\* \| \*\*({NUMBER})"),
    "wheel_reference_s": Value("wheel_alignment", rf"right \| 540,000 \| reference: shifts[^|]*\| ({NUMBER})"),
    "wheel_windows": Value("wheel_alignment", rf"shifts, {NUMBER} windows of {NUMBER} s \(({NUMBER}) run"),
    "compress_least": _COMPRESS(rf"2 workers \| {NUMBER} \| ({NUMBER}){_THIS_MACHINE}", min, "{:.2f}"),
    "compress_most": _COMPRESS(rf"2 workers \| {NUMBER} \| ({NUMBER}){_THIS_MACHINE}", max, "{:.2f}"),
    "compress_size": _COMPRESS(rf"bytes, {_SIGNED}% of one pass{_THIS_MACHINE}", largest_size, "{:.2f}"),
    "compress_psnr": _COMPRESS(rf"PSNR {NUMBER} dB, {_SIGNED} dB{_THIS_MACHINE}", largest_size, "{:.3f}"),
    "first_chunk_s": Value("overhead", rf"first chunk decoding after the command \| ({NUMBER})", form="{:.1f}"),
    "first_chunk_many_s": Value("overhead", rf"first chunk of 5,000 sessions \| ({NUMBER})", form="{:.1f}"),
    "index_s": Value("overhead", rf"index of an MP4 of 270,000 frames \| ({NUMBER})", form="{:.1f}"),
    "slurm_two": Value("scaling", rf"(?:pass|sion) \| 2 \| {NUMBER} \| ({NUMBER}) \|", lambda e: 2 * min(e), "{:.1f}"),
    "slurm_between_ms": Value("scaling", rf"(?:pass|sion) \| [12] \|[^\n]*\| ({NUMBER}) \|$", max, "{:.0f}"),
    "simulated_at_work": Value("scaling", rf"^\| 1,000 \|.*?({NUMBER})%"),
    "plan_s": Value("plan", rf"wall time \| ({NUMBER})", form="{:.0f}"),
    "plan_sessions": Value("plan", rf"({NUMBER}) sessions of an hour"),
    "steps_per_second": Value("steps_per_second", rf"^\| driver \| ({NUMBER})"),
    "steps_bare": Value("steps_per_second", rf"client.submit` \| ({NUMBER})"),
    "steps_ratio": Value("steps_per_second", rf"Ratio ({NUMBER})\."),
    "status_s": Value("status", rf"`status` \| ({NUMBER})", form="{:.1f}"),
    "status_mb": Value("status", rf"`status` \| {NUMBER} \| {NUMBER} \| ({NUMBER})"),
    **{
        f"{role}_mb": Value("driver_memory", rf"^\| {role} \|(?: {NUMBER} \|){{2}} ({NUMBER})", form="{:.0f}")
        for role in ("driver", "scheduler", "worker")
    },
    "scheduler_before_kb": Value(
        "driver_memory", rf"^\| scheduler, before \|(?: {NUMBER} \|){{4}} ({NUMBER})", form="{:,.0f}"
    ),
    "pupil_s": Value("pose_features", rf"^\| right \|(?: {NUMBER} \|){{2}} ({NUMBER})", form="{:.1f}"),
    "pupil_reference_s": Value(
        "pose_features", rf"^\| right, the reference \|(?: {NUMBER} \|){{2}} ({NUMBER})", lambda e: 12 * e[0], "{:.0f}"
    ),
    "pose_ratio": Value("pose", rf"({NUMBER}) of the two above in core-seconds"),
    "pose_fps": Value("pose", rf"pipeline, one decode \| ({NUMBER})"),
    "pose_many_fps": Value("pose", rf"pipelines, 5 decodes \| ({NUMBER})"),
    **{
        f"{tool}_{side}": Value("pose_tools", rf"^## {title}$.*?{row} \| ({NUMBER})", form="{:.0f}")
        for tool, title in (
            ("dlc", r"deeplabcut\.analyze_videos"),
            ("lp", r"Model\.predict_on_video_file, heatmap"),
            ("lp_context", r"Model\.predict_on_video_file, heatmap_mhcrnn"),
        )
        for side, row in (("alone", title), ("one", "ibl_dask, 1 worker"), ("two", "ibl_dask, 2 workers"))
    },
    **{
        f"tools_{n}_{name}": Value(
            "pose_tools", rf"^\| ibl_dask, {n} workers? \|[^|]*\|[^|]*\| ({NUMBER})", pick, "{:.1f}"
        )
        for n in (1, 2)
        for name, pick in (("least", min), ("most", max))
    },
    "gpus_two": Value("pose_gpus", rf"({NUMBER}) times as fast"),
    "clocks": Value("clocks", rf"\A# ({NUMBER}) random clocks"),
    "clocks_silent": Value("clocks", rf"^\| \*\*all\*\* \|(?: {NUMBER} \|){{6}} ({NUMBER}) \|"),
    "clocks_refused": Value("clocks", rf"refused ({NUMBER})%"),
    "clocks_no_trace": Value("clocks", rf"^\| \*\*all\*\* \|(?: {NUMBER} \|){{7}} ({NUMBER}) \|"),
}

SENTENCES: Sequence[tuple[str, str]] = [
    (
        "docs/performance.md",
        "{read_fps} frames/s (OpenCV: {read_fps_opencv}, torchcodec: {read_fps_torchcodec}); a random frame takes "
        "{seek_ms} ms ({seek_ms_opencv}, {seek_ms_torchcodec})",
    ),
    ("README.md", "{pass_left} to {pass_right} times as fast ([frame_pass]"),
    ("README.md", "| {checks_s} s ([camera_qc](benchmarks/results/camera_qc.md)) | {checks_reference_s} s |"),
    ("README.md", "| {one_process_right} to {one_process_left} of its speed ([frame_pass]"),
    (
        "README.md",
        "| one worker {tools_1_least} to {tools_1_most} times as fast as `analyze_videos` and `predict_on_video_file`, "
        "two {tools_2_least} to {tools_2_most} times ([pose_tools]",
    ),
    ("docs/performance.md", "On a CPU one worker is {tools_1_least} to {tools_1_most} times as fast as `deeplabcut"),
    ("docs/performance.md", "{pass_left} times as fast (left, 1280x1024), {pass_right} times (right, 640x512)"),
    ("docs/performance.md", "| {reading} times as fast | [timing]"),
    ("docs/performance.md", "| {checks_s} s (with reading) instead of {checks_reference_s} s (without)"),
    (
        "docs/performance.md",
        "| {wheel_s} s of CPU instead of {wheel_reference_s} s ({wheel_windows} of 3,600 windows measured)",
    ),
    ("docs/performance.md", "| `ffmpeg -threads 1 -f null` | {ffmpeg_left} frames/s | {ffmpeg_right} frames/s |"),
    (
        "docs/performance.md",
        "| frame pass, all reducers, one process | {one_process_left} of ffmpeg | {one_process_right} of ffmpeg |",
    ),
    (
        "docs/performance.md",
        "| two ffmpeg side by side | {two_ffmpeg_left} of twice one | {two_ffmpeg_right} of twice one |",
    ),
    (
        "docs/performance.md",
        "two workers | {two_workers_left} of two side by side | {two_workers_right} of two side by side |",
    ),
    ("docs/performance.md", "| {decode_left} times as fast | {decode_right} times as fast |"),
    ("docs/performance.md", "| peak memory of a worker | {peak_left} MB | {peak_right} MB |"),
    ("docs/performance.md", "take {compress_least} to {compress_most} of the time of `ffmpeg -threads 2`"),
    ("docs/performance.md", "the size is within {compress_size} % and the PSNR within {compress_psnr} dB"),
    (
        "docs/performance.md",
        "The first chunk decodes {first_chunk_s} s after the command; indexing 270,000 frames takes",
    ),
    ("docs/performance.md", "takes {index_s} s ([overhead]"),
    ("docs/performance.md", "two workers do {slurm_two} times the work of one, with at most {slurm_between_ms} ms"),
    ("docs/performance.md", "one driver keeps 1,000 workers at {simulated_at_work} % ([scaling]"),
    ("docs/performance.md", "{plan_sessions} sessions take {plan_s} s ([plan]"),
    (
        "docs/performance.md",
        "Of {clocks} random sessions with 36 kinds of disturbance, {clocks_silent} have wrong frame times that pass "
        "unflagged; {clocks_no_trace} have files that hold no trace of the lost samples, and {clocks_refused}% are",
    ),
    ("docs/pose_own_model.md", "{ffmpeg_left} frames/s of 1280x1024 and {ffmpeg_right} frames/s of 640x512"),
]

ROWS: Sequence[tuple[str, str, str, str]] = [
    # what, ibl_dask, the other side, results
    (
        "times, samples and motion energy of 5,000 frames, 1280x1024",
        "{pass_left_s} s, two workers",
        "ibllib: {pass_left_reference_s} s ({pass_left} times)",
        "frame_pass",
    ),
    (
        "the same, 640x512",
        "{pass_right_s} s, two workers",
        "ibllib: {pass_right_reference_s} s ({pass_right} times)",
        "frame_pass",
    ),
    (
        "a frame pass in one process, 1280x1024",
        "{one_process_left_fps} frames/s",
        "ffmpeg that only decodes: {ffmpeg_left} frames/s ({one_process_left})",
        "frame_pass",
    ),
    (
        "the same, 640x512",
        "{one_process_right_fps} frames/s",
        "ffmpeg that only decodes: {ffmpeg_right} frames/s ({one_process_right})",
        "frame_pass",
    ),
    (
        "compression, verified and measured, two workers",
        "{compress_least} to {compress_most} of its time",
        "ffmpeg with two threads: 1",
        "compress",
    ),
    (
        "frames of H.264 in order, 640x512",
        "{read_fps} frames/s",
        "OpenCV: {read_fps_opencv}, torchcodec: {read_fps_torchcodec} frames/s",
        "readers",
    ),
    (
        "a random frame of it",
        "{seek_ms} ms",
        "OpenCV: {seek_ms_opencv}, torchcodec: {seek_ms_torchcodec} ms",
        "readers",
    ),
    ("camera files of an hour at 150 Hz", "{reading_s} s", "ibllib: {reading_reference_s} s", "timing"),
    ("checks of an hour of three cameras", "{checks_s} s", "ibllib: {checks_reference_s} s", "camera_qc"),
    ("an hour at 150 Hz against the wheel", "{wheel_s} s", "ibllib: {wheel_reference_s} s", "wheel_alignment"),
    (
        "pupil of an hour at 150 Hz, smoothed",
        "{pupil_s} s",
        "ibllib: {pupil_reference_s} s, 12 times five minutes",
        "pose_features",
    ),
    (
        "steps that do nothing",
        "{steps_per_second} /s",
        "`client.submit`: {steps_bare} /s ({steps_ratio})",
        "steps_per_second",
    ),
    (
        "five networks on one video, 1280x1024, CPU",
        "{pose_fps} frames/s ({pose_ratio} of decoding and engines apart)",
        "one decode per network: {pose_many_fps} frames/s",
        "pose",
    ),
    *(
        (
            f"keypoints of {name}, CPU",
            f"{{{tool}_one}} frames/s, two workers {{{tool}_two}}",
            f"`{program}`: {{{tool}_alone}} frames/s",
            "pose_tools",
        )
        for name, tool, program in (
            ("DeepLabCut 3", "dlc", "analyze_videos"),
            ("Lightning Pose", "lp", "predict_on_video_file"),
            ("Lightning Pose, with context", "lp_context", "predict_on_video_file"),
        )
    ),
    ("two GPU workers on one video", "{gpus_two} times one", "one: 1", "pose_gpus"),
    ("first chunk after the command", "{first_chunk_s} s", "", "overhead"),
    ("first chunk of 5,000 sessions", "{first_chunk_many_s} s", "", "overhead"),
    ("plan of {plan_sessions} sessions", "{plan_s} s", "", "plan"),
    ("`status` of a million steps", "{status_s} s, {status_mb} MB", "", "status"),
    (
        "memory after 2,000 sessions of 300 steps",
        "driver {driver_mb}, scheduler {scheduler_mb}, worker {worker_mb} MB",
        "a scheduler of Dask alone: {scheduler_before_kb} kB more with each session",
        "driver_memory",
    ),
    ("{clocks} random clocks", "{clocks_silent} silently wrong", "", "clocks"),
]


def main() -> int:
    """Compare or write the figures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the documents and the table")
    arguments = parser.parse_args()
    pages = current_pages(ROOT)
    try:
        wanted = with_figures(pages)
    except FiguresError as error:
        print(error, file=sys.stderr)
        return 2
    stale = [name for name, text in wanted.items() if pages.get(name) != text]
    for name in stale:
        if arguments.write:
            (ROOT / name).write_text(wanted[name], encoding="utf-8")
        print(f"{name}: {'written' if arguments.write else 'other figures than the results; --write mends it'}")
    return 1 if stale and not arguments.write else 0


TABLE = "benchmarks/results/README.md"


def current_pages(root: Path) -> dict[str, str]:
    """Return the pages that hold figures, by their path below the root."""
    names = [*dict.fromkeys(page for page, _ in SENTENCES), TABLE]
    return {name: (root / name).read_text(encoding="utf-8") for name in names if (root / name).exists()}


def with_figures(pages: Mapping[str, str], results: Path = RESULTS) -> dict[str, str]:
    """Return the pages with the figures of the results, and the table.

    Raises
    ------
    FiguresError
        A sentence is not in its page exactly once, or a figure is not in the results.
    """
    values = values_of(results)
    found = dict(pages)
    for page, sentence in SENTENCES:
        found[page] = with_sentence(page, found[page], sentence, values)
    found[TABLE] = table(values, results)
    return found


def values_of(results: Path = RESULTS) -> dict[str, str]:
    """Return all figures by name.

    Raises
    ------
    FiguresError
        A figure is not in the results.
    """
    return {name: value.read(results) for name, value in VALUES.items()}


def with_sentence(page: str, text: str, sentence: str, values: Mapping[str, str]) -> str:
    """Return the text of a page with the figures of one sentence."""
    parts = re.split(r"(\{\w+\})", sentence)
    # Lines may break anywhere between words.
    plain = [r"\s+".join(map(re.escape, part.split(" "))) for part in parts]
    pattern = "".join(f"({NUMBER})" if part.startswith("{") else f"({plain[n]})" for n, part in enumerate(parts))
    if len(re.findall(pattern, text)) != 1:
        raise FiguresError(f"{page} must hold this sentence once, with figures for the braces: {sentence}")

    def fill(match: re.Match[str]) -> str:
        pieces = zip(parts, match.groups(), strict=True)
        return "".join(values[part[1:-1]] if part.startswith("{") else piece for part, piece in pieces)

    return re.sub(pattern, fill, text)


def table(values: Mapping[str, str], results: Path = RESULTS) -> str:
    """Return the table of all benchmarks as a page."""
    lines = [
        "# All benchmarks\n",
        "Both sides of a row ran in turn in one run. `python benchmarks/run_all.py` runs them all and writes this",
        "table with the figures of the pages that it links to; they name their machines.\n",
        "| | ibl_dask | beside | results | measured |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for what, ours, other, name in ROWS:
        row = [cell.format_map(values) for cell in (what, ours, other)]
        date = re.search(r"20\d\d-\d\d-\d\d", (results / f"{name}.md").read_text(encoding="utf-8"))
        lines.append(f"| {' | '.join(row)} | [{name}]({name}.md) | {date[0] if date else ''} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
