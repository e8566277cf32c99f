"""How long to wait before the next attempt."""

import random
from collections.abc import Callable


class Backoff:
    """Waits that double up to a cap, each shortened at random by up to half, so that cameras which were lost
    together do not come back in one blow ("equal jitter", Brooker, Exponential Backoff And Jitter, AWS
    Architecture Blog 2015)."""

    def __init__(
        self, longest_seconds: float, first_seconds: float = 0.5, uniform: Callable[[], float] = random.random
    ) -> None:
        self._longest = longest_seconds
        self._first = first_seconds
        self._uniform = uniform
        self._attempts = 0

    def next_seconds(self) -> float:
        # The exponent is held back too: 2 ** 2000 is no float.
        whole = min(self._longest, self._first * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return whole * (1 + self._uniform()) / 2

    def reset(self) -> None:
        """The next wait is a first one again."""
        self._attempts = 0
