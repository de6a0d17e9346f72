"""A fake of iblvideo 3.2.0: its functions have the signatures, return values and places of files of the real ones.

The real one needs TensorFlow, ffmpeg and weights that are not public. What it writes is made up; `rule.json` in the
folder of the weights may name a fault: fail, short, silent.
"""
