"""Alyx 3.6 on a loopback port, as recorded exchanges show it: a real HTTP server with its answers and its quirks.

Written from the recordings, not from the client that is tested with it; `tests/alyx/test_contract.py` replays the
recordings against it.
"""

from fake_alyx.faults import Faults
from fake_alyx.server import FakeAlyx
from fake_alyx.world import PNG, World

__all__ = ["PNG", "FakeAlyx", "Faults", "World"]
