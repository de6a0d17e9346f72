"""The order in which a cluster is given steps: which of those that it has it ends first depends on its machines."""

from __future__ import annotations

from typing import Any

import pytest

from ibl_dask.model.step import StepKey
from ibl_dask.pipeline import executors


def handed_out(monkeypatch: pytest.MonkeyPatch) -> list[StepKey]:
    """Return a list that the key of each step is added to when it is given to the cluster."""
    keys: list[StepKey] = []
    submit = executors.submit_step

    def submit_step(client: Any, call: Any, records: Any) -> Any:
        keys.append(call.key)
        return submit(client, call, records)

    monkeypatch.setattr(executors, "submit_step", submit_step)
    return keys
