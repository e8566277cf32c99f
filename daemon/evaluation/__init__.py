"""Measuring how well persons are told apart: on made scenes, pairs, galleries and the user's own pictures."""
