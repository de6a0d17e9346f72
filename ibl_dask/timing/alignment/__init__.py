"""From pulses to one time per frame."""
