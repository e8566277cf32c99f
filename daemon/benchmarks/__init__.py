"""Benchmarks of parts of Facend on this machine, compared with simple baselines."""
