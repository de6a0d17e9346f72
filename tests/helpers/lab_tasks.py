"""A lab's own tasks, in a module that can be imported by name."""

import ibl_dask as ibd


class LickRate(ibd.DynamicTask):
    """Leaves a file."""

    cpu, ram, priority = 2, 3, 70

    def _run(self, **kwargs):
        out = self.session.outputs / "alf" / "lab.rate.npy"
        out.parent.mkdir(exist_ok=True)
        out.write_text("rate")
        return [out]


class VideoCompress(LickRate):
    """Has the name of a task that sessions have."""


class Strict(ibd.VideoTask):
    """Takes an argument of its own, and looks for others where the field's tasks do."""

    def __init__(self, session_path, cameras=None, *, camera="left", **kwargs):
        super().__init__(session_path, cameras, **kwargs)
        self.camera = camera
