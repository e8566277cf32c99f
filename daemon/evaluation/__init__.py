"""Measures recognition accuracy on scenes, pairs, galleries and the user's own pictures."""
