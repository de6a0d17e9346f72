"""A clock that is wrong for the code under test: threads that run already set their deadlines by the true one."""

import threading
import time

_TRUE = time.time


def wrong_clock(shift_s):
    """Return a replacement for `time.time` that is wrong by `shift_s()`, but for threads that run already.

    Those of a Dask client would wait for hours, or never send again.
    """
    others = {*threading.enumerate()} - {threading.current_thread()}

    def clock():
        return _TRUE() + (0.0 if threading.current_thread() in others else shift_s())

    return clock
