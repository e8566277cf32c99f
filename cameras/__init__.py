"""Reads camera streams: opens a URL, decodes frames, and keeps the camera's state."""
