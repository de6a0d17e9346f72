"""From the devices of a description to tasks: one module per kind of device, pure functions from values to specs."""
