"""Exponential backoff with equal jitter, so that clients that fail together do not retry together.

https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

import random
from collections.abc import Callable


class Backoff:
    """Each pause is twice the one before, up to a limit, and shortened at random by up to half."""

    def __init__(
        self, first_seconds: float, max_seconds: float, uniform: Callable[[], float] = random.random
    ) -> None:
        """uniform: random numbers from 0 to 1."""
        self._first = first_seconds
        self._max = max_seconds
        self._uniform = uniform
        self._next = first_seconds

    def pause_seconds(self) -> float:
        """The pause before the next attempt."""
        longest = min(self._next, self._max)
        self._next = min(self._next * 2, self._max)
        return longest * (1 + self._uniform()) / 2

    def reset(self) -> None:
        """Start over with the first pause."""
        self._next = self._first
