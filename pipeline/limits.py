"""Default limits of input."""

MAX_PIXELS = 64_000_000
"""Default maximum number of pixels of a picture; decoding and analysis then need up to 0.5 GB."""
