"""Prefetch: threads make the next items while those before are used, within a bound on their bytes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetched(Generic[T]):
    """Items of an iterable that a thread makes ahead.

    Parameters
    ----------
    items : iterable
        The items; iterated in the thread alone.
    size_of : callable
        Returns the size of an item, bytes.
    most_bytes : int
        Size of the items made ahead at which the thread waits. One item is made ahead in any case.
    """

    def __init__(self, items: Iterable[T], size_of: Callable[[T], int], most_bytes: int) -> None:
        self._items = items
        self._size_of = size_of
        self._most_bytes = most_bytes
        self._ready: deque[tuple[T, int]] = deque()
        self._n_bytes = 0
        self._changed = threading.Condition()
        self._is_over = False
        self._is_stopped = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self.waited_s = 0.0
        """Time for which the user waited for items, s."""
        self.peak_bytes = 0
        """Largest size of the items made ahead, bytes."""

    def start(self) -> None:
        """Start the thread, which the iteration does otherwise."""
        self._thread = threading.Thread(target=self._make, name="prefetch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and wait for its end."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def __iter__(self) -> Generator[T, None, None]:
        """Yield the items; the thread ends with the iteration, also where that is left early."""
        if self._thread is None:
            self.start()
        try:
            while True:
                clock = time.perf_counter()
                with self._changed:
                    self._changed.wait_for(lambda: self._ready or self._is_over)
                    self.waited_s += time.perf_counter() - clock
                    if not self._ready:
                        break
                    item, size = self._ready.popleft()
                    self._n_bytes -= size
                    self._changed.notify_all()
                yield item
        finally:
            self.close()
        if self._error is not None:
            raise self._error

    def _make(self) -> None:
        items: Iterator[T] = iter(self._items)
        try:
            for item in items:
                size = self._size_of(item)
                with self._changed:
                    self._changed.wait_for(lambda: self._is_stopped or self._has_room(size))  # noqa: B023  # at once
                    if self._is_stopped:
                        break
                    self._ready.append((item, size))
                    self._n_bytes += size
                    self.peak_bytes = max(self.peak_bytes, self._n_bytes)
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001  # raised again by the iteration
            self._error = error
        finally:
            close = getattr(items, "close", None)
            with contextlib.suppress(Exception):
                if close is not None:
                    close()
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        return not self._ready or self._n_bytes + size <= self._most_bytes


class PrefetchedParts(Generic[T]):
    """Items of several iterables, one after the other, of which threads make some at once.

    Parameters
    ----------
    parts : sequence of iterables
        The iterables, in the order of their items; each is iterated in a thread of its own.
    size_of : callable
        Returns the size of an item, bytes.
    most_bytes : int
        Size of the items of one part made ahead at which its thread waits.
    n_threads : int
        Number of parts that are made at once.
    """

    def __init__(
        self, parts: Sequence[Iterable[T]], size_of: Callable[[T], int], most_bytes: int, n_threads: int
    ) -> None:
        self._parts = [Prefetched(part, size_of, most_bytes) for part in parts]
        self._n_threads = n_threads

    @property
    def waited_s(self) -> float:
        """Return the time for which the user waited for items, s."""
        return sum(part.waited_s for part in self._parts)

    def __iter__(self) -> Generator[T, None, None]:
        """Yield the items; all threads end with the iteration, also where that is left early."""
        started: deque[Prefetched[T]] = deque()
        left = iter(self._parts)
        try:
            while True:
                while len(started) < self._n_threads and (part := next(left, None)) is not None:
                    part.start()
                    started.append(part)
                if not started:
                    return
                yield from started[0]
                started.popleft()
        finally:
            for part in started:
                part.close()
