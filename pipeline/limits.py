"""Limits of input."""

MAX_PIXELS = 64_000_000
"""Maximum pixels of a picture. Default: decoding and analysis then need up to 0.5 GB."""
