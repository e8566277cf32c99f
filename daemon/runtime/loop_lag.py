"""Measures how late the event loop runs its timers; code that blocks the loop delays all of them."""

import asyncio
from collections.abc import Callable

INTERVAL_SECONDS = 0.25


async def measure(observe: Callable[[float], None], interval_seconds: float = INTERVAL_SECONDS) -> None:
    """Pass the delay of a timer, in seconds, to `observe` at each interval until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_seconds
        await asyncio.sleep(interval_seconds)
        observe(max(0.0, loop.time() - due))
