"""The sightings in the spool, their size, and the eviction policy of a full spool."""

import math
import threading
from collections.abc import Callable, Container

from store.errors import SpoolError
from store.settings import WhenFull
from store.spool.codec import Head

_POOREST_STEP = -5
"""Scores from this one down count as equally poor, because such pictures are useless."""


class SpoolIndex:
    """The sightings by id; ids sort by capture time. Thread-safe."""

    def __init__(self, max_bytes: int, when_full: WhenFull = "drop_poorest") -> None:
        if max_bytes <= 0:
            raise ValueError(f"a spool's max_bytes is above 0, not {max_bytes}")
        self.max_bytes = max_bytes
        self._eviction_key: Callable[[str], tuple[int, str]] | None = {
            "drop_poorest": self._rank,
            "drop_oldest": lambda sighting_id: (0, sighting_id),
            "keep": None,
        }[when_full]
        self._lock = threading.Lock()
        self._heads: dict[str, Head] = {}
        self._held: set[str] = set()
        self._bytes = 0
        self._reserved = 0

    @property
    def bytes_waiting(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._heads)

    def ids(self) -> list[str]:
        """The ids, oldest capture first."""
        with self._lock:
            return sorted(self._heads)

    def oldest(self, excluded: Container[str] = ()) -> str | None:
        with self._lock:
            return min((one for one in self._heads if one not in excluded), default=None)

    def head(self, sighting_id: str) -> Head | None:
        return self._heads.get(sighting_id)

    def hold(self, sighting_id: str) -> None:
        """Protect a sighting from eviction. KeyError if it is not in the spool."""
        with self._lock:
            if sighting_id not in self._heads:
                raise KeyError(sighting_id)
            self._held.add(sighting_id)

    def release(self, sighting_id: str) -> None:
        """End the protection by `hold`."""
        with self._lock:
            self._held.discard(sighting_id)

    def add(self, sighting_id: str, head: Head) -> None:
        with self._lock:
            self._add(sighting_id, head)

    def remove(self, sighting_id: str) -> Head | None:
        """Remove a sighting; returns its head, or None if it was not in the spool."""
        with self._lock:
            return self._remove(sighting_id)

    def reserve(self, size: int) -> dict[str, Head]:
        """Reserve space for a sighting about to be written; returns the sightings evicted for it.

        Raises:
            SpoolError: there cannot be enough space; nothing is evicted.
        """
        if size > self.max_bytes:
            raise SpoolError(
                f"a sighting has {size} bytes, the spool {self.max_bytes}; raise spool.max_bytes"
            )
        with self._lock:
            excess = self._bytes + self._reserved + size - self.max_bytes
            evicted: dict[str, Head] = {}
            if excess > 0 and self._eviction_key is None:
                raise SpoolError(f'the spool is full ({self.max_bytes} bytes), and spool.when_full is "keep"')
            if excess > 0:
                for sighting_id in sorted(self._heads.keys() - self._held, key=self._eviction_key):
                    evicted[sighting_id] = self._heads[sighting_id]
                    excess -= evicted[sighting_id].size
                    if excess <= 0:
                        break
                else:
                    raise SpoolError(
                        f"all sightings in the spool ({self.max_bytes} bytes) are being stored; try again"
                    )
            for sighting_id in evicted:
                self._remove(sighting_id)
            self._reserved += size
            return evicted

    def settle(self, sighting_id: str, head: Head, accepted: bool) -> None:
        """End a reservation. An `accepted` sighting is added to the index."""
        with self._lock:
            self._reserved -= head.size
            if accepted:
                self._add(sighting_id, head)

    def _add(self, sighting_id: str, head: Head) -> None:
        self._heads[sighting_id] = head
        self._bytes += head.size

    def _remove(self, sighting_id: str) -> Head | None:
        self._held.discard(sighting_id)
        head = self._heads.pop(sighting_id, None)
        if head is not None:
            self._bytes -= head.size
        return head

    def _rank(self, sighting_id: str) -> tuple[int, str]:
        score = self._heads[sighting_id].score
        return math.floor(min(score, 0.0)) if score > _POOREST_STEP else _POOREST_STEP, sighting_id
