"""The state of one plugin: its file, failures and counters."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import structlog

from daemon.plugins.calls import Caller
from daemon.plugins.errors import PluginFault, describe
from daemon.status import PluginReport

log = structlog.get_logger(__name__)

MAX_REASONS = 20
"""Maximum number of distinct reasons, because each reason with another number or name in it is a new one."""
OTHER_REASONS = "other reasons"

State = Literal["loading", "active", "resting", "failed"]


class Plugin:
    """A plugin and its state."""

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self.path = path
        self.caller = Caller(name, self.failed)
        self.resting: set[str] = set()
        """Hooks that are suspended after too many failures."""
        self._state: State = "loading"
        self.error = ""
        """The last error in one line; empty if there was none."""
        self.error_at: datetime | None = None
        self.failures = 0
        self.lost = 0
        """Number of events that the plugin's hooks missed."""
        self.refused: Counter[str] = Counter()
        """Refused sightings by reason."""

    @property
    def state(self) -> State:
        return "resting" if self.resting else self._state

    def activated(self) -> None:
        self._state = "active"

    def failed(self, where: str, error: BaseException) -> None:
        """Log and count a failure, with a traceback unless it is a PluginFault."""
        self.failures += 1
        self.error = f"{where}: {describe(error)}"
        self.error_at = datetime.now(UTC)
        trace = None if isinstance(error, PluginFault) else error
        log.error("a plugin fails", plugin=self.name, where=where, reason=describe(error), exc_info=trace)

    def unusable(self, where: str, error: BaseException) -> None:
        """Mark the plugin as failed for this run of the daemon."""
        self.failed(where, error)
        self._state = "failed"

    def count_refusal(self, reason: str) -> str:
        """Count a refused sighting; returns the reason as it is counted."""
        text = " ".join(reason.split())[:100] or "no reason given"
        if text not in self.refused and len(self.refused) >= MAX_REASONS:
            text = OTHER_REASONS
        self.refused[text] += 1
        return text

    def status(self) -> PluginReport:
        return PluginReport(
            name=self.name,
            state=self.state,
            error=self.error,
            error_at=self.error_at,
            failures=self.failures,
            refused=dict(self.refused),
            lost=self.lost,
        )
