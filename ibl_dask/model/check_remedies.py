"""What to do where a check does not pass, for people who look at one session."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "brightness": "look at the pictures: frames that are too dark or bright want another lamp, exposure or gain",
        "camera_times": "find out why the camera's log is short; frames without an entry are timed by pulses alone",
        "dropped_frames": "frames are missing, and times account for that; give the acquisition computer a faster disk "
        "or lower the rate",
        "file_headers": "the rate in the header is wrong, and not used; correct the setting of the recording program",
        "focus": "look at the pictures; adjust the lens, or clean it",
        "framerate": "compare the setting of the camera with the description; correct the one that is wrong",
        "pin_state": "check the cable of the sync line to the camera; few common changes make times less certain",
        "position": "look at the pictures beside those of a good session; put the camera back in its place",
        "resolution": "compare the setting of the camera with the description; regions are scaled to the frame",
        "timestamps": "read the origin of the times in the report; where they are assumed, do not use them for events "
        "shorter than the doubt",
        "decoding": "copy the video again from the acquisition computer and run again; else leave out the frames "
        "that decode_error marks",
        "black_frames": "look at the pictures: the lamp was off, or something covered the lens; leave these frames out",
        "repeated_frames": "the driver wrote old pictures; leave these frames out of motion energy and keypoints",
        "light_steps": "look at the pictures on either side; thresholds on brightness may need two values",
        "flicker": "change the lamp or its power supply; motion energy of this session measures the lamp",
        "camera_movement": "look at the pictures before and after; regions and windows hold for one of the two alone",
        "frame_intervals": "look at the intervals in the report; frames beside a gap are not evenly exposed",
        "pulse_residuals": "times may be off by a frame; look at the residuals in the report, and check the sync line",
        "reckoned_times": "look where pulses are missing in the report; times far beyond the last pulse drift",
        "wheel_alignment": "video and wheel disagree: look at both in the report before using either",
        "lick_detection": "look at the tongue in the preview: the network may take the spout for it",
        "mean_in_bbox": "look at the preview: the camera may be turned, or the network trained on another view",
        "time_trace_length_match": "run the tasks of frame times and of pose again on the same video",
        "trace_all_nan": "look at the preview: the point is never seen, or the network does not know it",
        "paw_close_nan": "look at the preview around stimuli: the paw is hidden, or the network loses it",
        "paw_far_nan": "look at the preview around stimuli: the paw is hidden, or the network loses it",
        "pupil_blocked": "look at the eye in the preview: a whisker or a lid hides the pupil",
        "pupil_diameter_snr": "look at the pupil in the preview before you use its diameter",
    }
)
"""Name of a check -> what to do; checks of a lab's own have none."""
