"""Channels of the sync that may be a camera's, for messages about a wrong wiring."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def format_fitting_channels(n_needed: int, n_tolerated: int, fronts_per_channel: Mapping[int, int] | None) -> str:
    """Format the channels that carry about two fronts per exposure, or all channels where none does.

    Parameters
    ----------
    n_needed : int
        Exposures of the camera.
    n_tolerated : int
        Difference from it up to which a channel fits, exposures.
    fronts_per_channel : mapping of int to int, or None
        Fronts on every channel of the sync; None gives an empty string.
    """
    if fronts_per_channel is None:
        return ""
    fitting = {
        channel: n_fronts
        for channel, n_fronts in sorted(fronts_per_channel.items())
        if abs(n_fronts / 2 - n_needed) <= n_tolerated
    }
    if not fitting:
        channels = ", ".join(f"{channel}: {n_fronts:,}" for channel, n_fronts in sorted(fronts_per_channel.items()))
        return f" (no channel has about {2 * n_needed:,} fronts, two per exposure; fronts per channel: {channels})"
    channels = " or ".join(f"channel {channel} ({n_fronts:,} fronts)" for channel, n_fronts in fitting.items())
    return f" (two fronts per exposure would be about {2 * n_needed:,}: {channels} has about as many)"
