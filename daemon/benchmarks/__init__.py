"""Benchmarks of cameras and of the facen storage on this machine, compared with simple baselines."""
