"""Sinks: where events are delivered outside the daemon."""
