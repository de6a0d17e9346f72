"""Type of the objects of JSON that are read by key: records, journals, answers of other processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JsonObject = Mapping[str, Any]
"""An object of JSON; its values are checked where they are used."""
