"""How late the event loop is: whoever blocks it makes everybody on it wait."""

import asyncio
from collections.abc import Callable

EVERY_SECONDS = 0.25


async def measure(observe: Callable[[float], None], every_seconds: float = EVERY_SECONDS) -> None:
    """Until it is cancelled: ask to be woken, and tell by how many seconds that came late."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every_seconds
        await asyncio.sleep(every_seconds)
        observe(max(0.0, loop.time() - due))
