"""Retry policy for sightings that could not be stored: when each is tried again, and when it is given up.

A failure may concern the store (MongoDB is down) or one sighting (its picture is too large for the server).
The kind of error says which is likelier, and the other sightings decide: one that fails again after others
were stored is itself at fault.
"""

import time
from dataclasses import dataclass, field

from pipeline.base.backoff import Backoff
from store.errors import (
    AuthenticationError,
    BadFilterError,
    FacenStorageError,
    PackError,
    PictureRefusedError,
    QueryTimeoutError,
    SpoolError,
    StoreError,
    StoreStateError,
    StoreUnavailableError,
    UploadError,
)

ABOUT_THE_STORE = (
    AuthenticationError,
    BadFilterError,  # the recorder's queries are the same for all sightings
    FacenStorageError,
    PackError,
    QueryTimeoutError,  # a busy MongoDB: the recorder's queries are quick otherwise
    SpoolError,
    StoreStateError,
    StoreUnavailableError,
    UploadError,
)
"""Errors that likely concern every sighting. PictureRefusedError, a subclass of UploadError, does not."""

IN_PLACE = 3
"""Attempts at the oldest sighting during an outage before another one is tried."""
DIFFERENT = 3
"""Different sightings that fail in a row before the store counts as at fault, whatever the errors say."""
STRIKES = 10
"""Failures, each after others were stored, after which a sighting is given up."""
KNOWN_TROUBLE_SECONDS = 24 * 3600.0
"""A sighting that alone meets errors of the store is kept at least this long."""
OWN_PAUSE_FACTOR = 20
"""Maximum pause between attempts at one sighting, in longest pauses of the recorder."""


@dataclass(slots=True)
class _Failing:
    backoff: Backoff
    first_at: float
    stored_before: int
    due: float = 0.0
    attempts: int = 0
    strikes: int = 0
    """Failures after others were stored since the previous attempt."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The consequence of a failed attempt."""

    hopeless: bool = False
    """Give the sighting up; its state here is removed."""
    of_store: bool = False
    """The store is likely at fault: pause before any other attempt."""
    in_place: bool = False
    """Try the same sighting next."""
    attempts: int = 0


@dataclass(slots=True)
class Retries:
    """Sightings whose last attempt failed. Monotonic times, in seconds."""

    first_pause_seconds: float
    longest_pause_seconds: float
    _failing: dict[str, _Failing] = field(default_factory=dict)
    _in_a_row: set[str] = field(default_factory=set)
    """Different sightings that failed since the last success."""
    _stored: int = 0

    def __len__(self) -> int:
        return len(self._failing)

    def failed(self, sighting_id: str, error: StoreError) -> Failure:
        """Records a failed attempt, and sets the sighting aside or gives it up."""
        now = time.monotonic()
        one = self._failing.get(sighting_id)
        if one is None:
            longest = OWN_PAUSE_FACTOR * self.longest_pause_seconds
            one = _Failing(Backoff(self.first_pause_seconds, longest), now, self._stored)
            self._failing[sighting_id] = one
        one.attempts += 1
        one.strikes += self._stored > one.stored_before
        one.stored_before = self._stored
        self._in_a_row.add(sighting_id)
        of_itself = not isinstance(error, ABOUT_THE_STORE) or isinstance(error, PictureRefusedError)
        if self._is_hopeless(one, error, of_itself or now - one.first_at >= KNOWN_TROUBLE_SECONDS):
            del self._failing[sighting_id]
            return Failure(hopeless=True)
        suspects_store = not of_itself and not one.strikes
        in_place = suspects_store and one.attempts < IN_PLACE
        after = (error.retry_after_seconds or 0.0) if isinstance(error, UploadError) else 0.0
        one.due = now + max(after, 0.0 if in_place else one.backoff.pause_seconds())
        of_store = suspects_store or len(self._in_a_row) >= DIFFERENT
        return Failure(of_store=of_store, in_place=in_place, attempts=one.attempts)

    def _is_hopeless(self, one: _Failing, error: StoreError, is_long_enough: bool) -> bool:
        if isinstance(error, PictureRefusedError):
            # Several different ones in a row mean that the server accepts nothing; none is given up for that.
            return one.strikes > 0 or len(self._in_a_row) < DIFFERENT
        return one.strikes >= STRIKES and is_long_enough

    def stored(self, sighting_id: str) -> None:
        """Records a success. Sightings that failed because of the store are due at once."""
        self.remove(sighting_id)
        if self._in_a_row:
            self._in_a_row.clear()
            for one in self._failing.values():
                if not one.strikes and one.stored_before == self._stored:
                    one.due = 0.0
        self._stored += 1

    def remove(self, sighting_id: str) -> None:
        """Forgets a sighting that left the spool."""
        self._failing.pop(sighting_id, None)

    def not_due(self) -> set[str]:
        """Sightings whose next attempt is in the future."""
        now = time.monotonic()
        return {key for key, one in self._failing.items() if one.due > now}

    def ids(self) -> set[str]:
        """Sightings whose last attempt failed, due or not."""
        return set(self._failing)

    def next_due_seconds(self) -> float | None:
        """Time until the next one is due; None where none failed."""
        if not self._failing:
            return None
        return max(0.0, min(one.due for one in self._failing.values()) - time.monotonic())
