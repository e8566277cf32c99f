"""Pauses between attempts that grow, are capped, and are spread by chance.

The spread keeps many boxes from calling on one server in step:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

import random


class Backoff:
    """The next pause is twice as long as the one before, up to a limit, and up to half shorter by chance."""

    def __init__(self, first_seconds: float, max_seconds: float) -> None:
        self._first = first_seconds
        self._max = max_seconds
        self._next = first_seconds

    def pause_seconds(self) -> float:
        longest = min(self._next, self._max)
        self._next = min(self._next * 2, self._max)
        return longest * random.uniform(0.5, 1)  # noqa: S311 - chance that guards no secret

    def reset(self) -> None:
        self._next = self._first
