"""Retry policy for sightings that could not be stored: when to try again, and when to give up.

A failure may concern the store (MongoDB is down) or one sighting (its picture is too large for the server).
The class of the error says which is likelier, and the other sightings decide: a sighting that fails again
after others were stored is itself at fault.
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

STORE_ERRORS = (
    AuthenticationError,
    BadFilterError,  # the recorder's queries are the same for all sightings
    FacenStorageError,
    PackError,
    QueryTimeoutError,  # MongoDB is busy: the recorder's queries are quick otherwise
    SpoolError,
    StoreStateError,
    StoreUnavailableError,
    UploadError,
)
"""Errors that likely concern every sighting. PictureRefusedError, a subclass of UploadError, does not."""

MAX_IN_PLACE = 3
"""Number of attempts at the oldest sighting during an outage before another one is tried."""
MIN_DIFFERENT = 3
"""Number of different sightings that fail in a row until the store counts as at fault, whatever the
errors."""
MAX_STRIKES = 10
"""Number of strikes after which a sighting is given up. A strike is a failure after others were stored."""
KNOWN_TROUBLE_SECONDS = 24 * 3600.0
"""Minimum time for which a sighting is kept that alone fails with errors about the store."""
OWN_PAUSE_FACTOR = 20
"""Maximum pause between attempts at one sighting, as a multiple of the recorder's longest pause."""


@dataclass(slots=True)
class _Failing:
    """State of a sighting whose last attempt failed."""

    backoff: Backoff
    first_at: float
    stored_before: int
    due: float = 0.0
    attempts: int = 0
    strikes: int = 0
    """Number of failures before which others were stored since the previous attempt."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The consequence of a failed attempt."""

    hopeless: bool = False
    """Give up the sighting, which `Retries` has forgotten."""
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
        """Record a failed attempt, and set the sighting aside or give it up."""
        now = time.monotonic()
        failing = self._failing.get(sighting_id)
        if failing is None:
            longest = OWN_PAUSE_FACTOR * self.longest_pause_seconds
            failing = _Failing(Backoff(self.first_pause_seconds, longest), now, self._stored)
            self._failing[sighting_id] = failing
        failing.attempts += 1
        failing.strikes += self._stored > failing.stored_before
        failing.stored_before = self._stored
        self._in_a_row.add(sighting_id)
        is_own_fault = not isinstance(error, STORE_ERRORS) or isinstance(error, PictureRefusedError)
        if self._is_hopeless(failing, error, is_own_fault or now - failing.first_at >= KNOWN_TROUBLE_SECONDS):
            del self._failing[sighting_id]
            return Failure(hopeless=True)
        suspects_store = not is_own_fault and not failing.strikes
        in_place = suspects_store and failing.attempts < MAX_IN_PLACE
        after = (error.retry_after_seconds or 0.0) if isinstance(error, UploadError) else 0.0
        failing.due = now + max(after, 0.0 if in_place else failing.backoff.pause_seconds())
        of_store = suspects_store or len(self._in_a_row) >= MIN_DIFFERENT
        return Failure(of_store=of_store, in_place=in_place, attempts=failing.attempts)

    def _is_hopeless(self, failing: _Failing, error: StoreError, is_long_enough: bool) -> bool:
        if isinstance(error, PictureRefusedError):
            # If several in a row are refused, the server accepts nothing; no sighting is given up for that.
            return failing.strikes > 0 or len(self._in_a_row) < MIN_DIFFERENT
        return failing.strikes >= MAX_STRIKES and is_long_enough

    def stored(self, sighting_id: str) -> None:
        """Record a success. Sightings that failed because of the store are due at once."""
        self.remove(sighting_id)
        if self._in_a_row:
            self._in_a_row.clear()
            for failing in self._failing.values():
                if not failing.strikes and failing.stored_before == self._stored:
                    failing.due = 0.0
        self._stored += 1

    def remove(self, sighting_id: str) -> None:
        """Forget a sighting that left the spool."""
        self._failing.pop(sighting_id, None)

    def not_due(self) -> set[str]:
        """Sightings whose next attempt is in the future."""
        now = time.monotonic()
        return {key for key, failing in self._failing.items() if failing.due > now}

    def ids(self) -> set[str]:
        """Sightings whose last attempt failed, due or not."""
        return set(self._failing)

    def next_due_seconds(self) -> float | None:
        """Time until the next sighting is due; None if none failed."""
        if not self._failing:
            return None
        return max(0.0, min(failing.due for failing in self._failing.values()) - time.monotonic())
