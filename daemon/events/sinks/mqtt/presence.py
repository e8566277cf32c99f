"""Who is present: a person from the first event of a visit until some time after its end."""

import asyncio
from collections.abc import Callable


class Presence:
    """Called on the event loop. `on_left` is called with each person who is no longer present."""

    def __init__(self, present_seconds: float, on_left: Callable[[int], None]) -> None:
        self._seconds = present_seconds
        self._on_left = on_left
        self._visits: dict[str, int] = {}
        """The person of each visit that has not ended."""
        self._leaving: dict[int, asyncio.TimerHandle] = {}

    def __contains__(self, person_id: int) -> bool:
        return person_id in self._visits.values() or person_id in self._leaving

    def visit(self, visit_id: str, person_id: int | None, *, ended: bool) -> None:
        """A visit goes on, with this person, or has ended. A visit may change its person."""
        before = self._visits.pop(visit_id, None)
        if person_id is not None:
            if (timer := self._leaving.pop(person_id, None)) is not None:
                timer.cancel()
            self._visits[visit_id] = person_id
            if ended:
                del self._visits[visit_id]
                self._leave_later(person_id)
        if before is not None and before != person_id and before not in self._visits.values():
            self._leave_later(before, 0 if person_id is not None else self._seconds)

    def forget(self, person_id: int) -> None:
        """The person is gone from the store."""
        self._visits = {visit: person for visit, person in self._visits.items() if person != person_id}
        if (timer := self._leaving.pop(person_id, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()

    def _leave_later(self, person_id: int, seconds: float | None = None) -> None:
        if person_id in self._visits.values():
            return  # another camera still sees the person
        if (timer := self._leaving.pop(person_id, None)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        pause = self._seconds if seconds is None else seconds
        self._leaving[person_id] = loop.call_later(pause, self._leave, person_id)

    def _leave(self, person_id: int) -> None:
        del self._leaving[person_id]
        self._on_left(person_id)
