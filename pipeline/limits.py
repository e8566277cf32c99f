"""What is taken at most."""

MAX_PIXELS = 64_000_000
"""The largest picture that is taken unless the settings say otherwise; looking at it takes up to 0.5 GB."""
