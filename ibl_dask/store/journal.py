"""Journal of a run: one JSON object per line, appended by the driver alone, in segments.

Segments are files `events-00000.jsonl`, `events-00001.jsonl`, ... in the folder of the run; older ones are compressed.
A driver that is killed while it writes leaves a torn last line, which reading drops. Earlier versions wrote one file
`events-<run>.jsonl` into the work folder, which is read as well.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import shutil
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple  # Any: values of JSON

from ibl_dask.store.appended_file import AppendedFile
from ibl_dask.store.atomic import make_folder, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from ibl_dask.errors import IblDaskError

_log = logging.getLogger(__name__)

JOURNAL_VERSION = 1
SEGMENT_BYTES = 64_000_000
"""Length from which on a new segment begins, bytes."""
N_PLAIN = 2
"""Newest segments, which are not compressed: sessions in flight have their lines there."""
SYNC_S = 0.2
"""Interval at which lines are put on disk, s; the end of a task, session or run is put there at once."""
_GROUPED = ("StepFinished", "StepRetried", "SessionPlanned", "SessionPutOff")
"""Events that may wait for others."""
_ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)
_SEGMENT = re.compile(r"events-(\d{5,})\.jsonl(\.gz)?")


class Place(NamedTuple):
    """Place in a journal."""

    segment: int = 0
    """Number of the segment."""
    byte: int = 0
    """Byte of the uncompressed segment."""


START = Place()
"""Start of a journal."""


class Journal:
    """Appends events to the segments of a run.

    Every line is handed to the system at once, so that a driver that is killed loses none. It is on disk `SYNC_S` later
    at most, provided that `sync` is called now and then. A power cut may lose lines of that time: ends of single
    steps, whose results are on disk before.

    A disk that takes no more lines stops no run: the lines are kept, tried again with the next event, and the error is
    in `failure`.

    Parameters
    ----------
    folder : Path
        Folder of the run, made if it is not there. A journal that is there is continued.

    Raises
    ------
    NotWritable
        If the journal cannot be opened for writing.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self._segment = max(find_segments(folder), default=0)
        self._file = AppendedFile(segment_file(folder, self._segment))
        self._synced_s = -SYNC_S
        self._compressing: threading.Thread | None = None

    @property
    def place(self) -> Place:
        """Return the end of the journal, lines that are still to be written included."""
        return Place(self._segment, self._file.n_bytes)

    @property
    def failure(self) -> IblDaskError | None:
        """Return the error because of which lines are not on disk yet; None where there is none."""
        return self._file.failure

    def append(self, event: Mapping[str, object]) -> None:
        """Write one event."""
        line = _ENCODER.encode({"v": JOURNAL_VERSION, **event})
        if self._file.n_bytes >= SEGMENT_BYTES:
            self._begin_segment()
        self._file.append(line.encode() + b"\n")
        if event.get("event") not in _GROUPED or time.monotonic() - self._synced_s >= SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Put all lines on disk."""
        self._synced_s = time.monotonic()
        self._file.sync()

    def _begin_segment(self) -> None:
        """Begin a segment; where the disk fails, the present one goes on."""
        self._file.sync()
        if not self._file.is_on_disk:
            return
        try:
            following = AppendedFile(segment_file(self.folder, self._segment + 1))
        except OSError as error:
            _log.info("the journal stays in one segment: %s", error)
            return
        self._file.close()
        self._file, self._segment = following, self._segment + 1
        if self._compressing is None or not self._compressing.is_alive():
            to_do = (self.folder, self._segment - N_PLAIN)
            self._compressing = threading.Thread(target=compress_segments, args=to_do, daemon=True, name="journal")
            self._compressing.start()

    def close(self) -> None:
        """Close the journal. Lines that are not on disk are tried again, for a while if the error may be transient."""
        self._file.close()
        if self._compressing is not None:
            self._compressing.join()
            compress_segments(self.folder, self._segment - N_PLAIN)  # those that became old while it was at work

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def segment_file(folder: Path, number: int) -> Path:
    """Return the path of a segment that is not compressed."""
    return folder / f"events-{number:05d}.jsonl"


def find_segments(folder: Path) -> dict[int, Path]:
    """Return the segments of a run by number, in order; of one that is there twice the uncompressed one."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _SEGMENT.fullmatch(path.name)
        if match is not None:
            found.setdefault(int(match[1]), path)
    return dict(sorted(found.items()))


def compress_segments(folder: Path, last: int) -> None:
    """Compress the segments of a run up to a number; one that does not fit on the disk stays as it is."""
    for number, path in find_segments(folder).items():
        if number > last or path.suffix == ".gz":
            continue
        try:
            with (
                path.open("rb") as source,
                writing(path.with_name(f"{path.name}.gz")) as target,
                gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=target) as packed,
            ):
                shutil.copyfileobj(source, packed, 1 << 20)
            path.unlink()
        except OSError as error:
            _log.info("a segment of the journal stays uncompressed: %s", error)


def read_lines(
    journal: Path, start: Place = START, stop: Place | None = None, mark: bytes = b""
) -> Iterator[tuple[Place, bytes]]:
    """Yield lines of a journal, each with the place after it.

    Parameters
    ----------
    journal : Path
        Folder of the run, or the one file of an earlier version.
    start : Place
        Place at which a line starts, from which on lines are read.
    stop : Place, optional
        Place at which a later line starts; by default the end.
    mark : bytes
        Text that a line must hold; others are dropped.
    """
    numbers = [0] if journal.is_file() else [*find_segments(journal)]
    for number in numbers:
        if number < start.segment or (stop is not None and number > stop.segment):
            continue
        begin = start.byte if number == start.segment else 0
        end = stop.byte if stop is not None and number == stop.segment else None
        for byte, line in _lines_of_segment(journal, number, begin, end):
            if mark in line:
                yield Place(number, byte), line


def _lines_of_segment(journal: Path, number: int, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield lines of one segment, each with the byte after it."""
    try:
        with _open_segment(journal, number) as file:
            place = file.seek(start)
            for line in file:
                if stop is not None and place >= stop:
                    return
                place += len(line)
                yield place, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        _log.warning("segment %s of %s is damaged: %s", number, journal, error)


def _open_segment(journal: Path, number: int) -> BinaryIO:
    """Open a segment; the driver may compress it meanwhile."""
    if journal.is_file():
        return journal.open("rb")
    path = segment_file(journal, number)
    try:
        return path.open("rb")
    except FileNotFoundError:
        return gzip.open(path.with_name(f"{path.name}.gz"), "rb")  # type: ignore[return-value]  # reads like a file


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Return the event of a line; None for a torn line, or one that is no event of this version."""
    try:
        event = json.loads(line)
    except ValueError:  # not JSON, or the zeros that a power cut leaves
        return None
    return event if isinstance(event, dict) and event.get("v") == JOURNAL_VERSION else None


def read_journal(
    journal: Path, start: Place = START, stop: Place | None = None, mark: bytes = b""
) -> Iterator[dict[str, Any]]:
    """Yield the events of a run; see `read_lines` and `parse_event`."""
    for _, line in read_lines(journal, start, stop, mark):
        event = parse_event(line)
        if event is not None:
            yield event
