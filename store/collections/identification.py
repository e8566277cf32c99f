"""What a search for similar faces gives."""

from collections.abc import Iterable
from typing import NamedTuple

from store.face import Face


class IdentifyResult(NamedTuple):
    """One face that resembles the given one."""

    face: Face
    confidence: float
    """0 to 1."""


class IdentifyResults(list[IdentifyResult]):
    """The faces found, the best first, and how many servers of the facen storage took part.

    `live_server` (the same as `live_servers`) and `total_servers` are known only after a
    search with `ignore_errors=True`, and None otherwise.
    """

    def __init__(
        self,
        results: Iterable[IdentifyResult] = (),
        live_servers: int | None = None,
        total_servers: int | None = None,
    ) -> None:
        super().__init__(results)
        self.live_servers = live_servers
        self.total_servers = total_servers

    @property
    def live_server(self) -> int | None:
        return self.live_servers
