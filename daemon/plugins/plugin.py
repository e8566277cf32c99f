"""One plugin: where it comes from, and how it is."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import structlog

from daemon.plugins.calls import Caller
from daemon.plugins.errors import PluginFault, described

log = structlog.get_logger(__name__)

REASONS_KEPT = 20
"""A reason that holds a number or a name would make ever more of them."""
OTHER_REASONS = "other reasons"

State = Literal["loading", "active", "resting", "failed"]


class Plugin:
    """A plugin's name, its file, and what has become of it."""

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self.path = path
        self.caller = Caller(name, self.failed)
        self.resting: set[str] = set()
        """Hooks that failed so often that they are not asked for a while."""
        self._state: State = "loading"
        self.error = ""
        """What went wrong last, in one line; empty where nothing ever did."""
        self.error_at: datetime | None = None
        self.failures = 0
        self.lost = 0
        """Sightings that its hooks after storing were not told of."""
        self.refused: Counter[str] = Counter()
        """Refused sightings by reason."""

    @property
    def state(self) -> State:
        return "resting" if self.resting else self._state

    def activated(self) -> None:
        self._state = "active"

    def failed(self, where: str, error: BaseException) -> None:
        """Something of it has failed; the log says so, with a traceback where that tells something."""
        self.failures += 1
        self.error = f"{where}: {described(error)}"
        self.error_at = datetime.now(UTC)
        trace = None if isinstance(error, PluginFault) else error
        log.error("a plugin fails", plugin=self.name, where=where, reason=described(error), exc_info=trace)

    def unusable(self, where: str, error: BaseException) -> None:
        """It cannot be used at all in this run of the daemon."""
        self.failed(where, error)
        self._state = "failed"

    def count_refusal(self, reason: str) -> str:
        """Counts a refused sighting; the reason as it is counted."""
        text = " ".join(reason.split())[:100] or "no reason given"
        if text not in self.refused and len(self.refused) >= REASONS_KEPT:
            text = OTHER_REASONS
        self.refused[text] += 1
        return text

    def status(self) -> dict[str, Any]:
        """For /status."""
        return {
            "name": self.name,
            "state": self.state,
            "error": self.error,
            "error_at": self.error_at,
            "failures": self.failures,
            "refused": dict(self.refused),
            "lost": self.lost,
        }
