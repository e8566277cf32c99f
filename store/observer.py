"""`StoreObserver`: receives measurements of the store's work. The daemon's implementation feeds metrics."""

from typing import Literal, Protocol

StoreStage = Literal["identify", "store", "upload"]
SightingOutcome = Literal["stored", "retried", "dead", "dropped", "refused"]
PersonOutcome = Literal["matched", "created", "ambiguous", "withheld"]


class StoreObserver(Protocol):
    """Methods must return at once and never raise. Names and outcomes become labels of metrics."""

    def operation(self, name: str, seconds: float) -> None:
        """A call to MongoDB, the facen storage or the uploads, such as `faces.find`, took this long."""
        ...

    def error(self, operation: str, kind: str) -> None:
        """A call failed; `kind` is the name of the exception's class."""
        ...

    def stage(self, name: StoreStage, seconds: float) -> None:
        """A stage of storing a sighting took this long."""
        ...

    def sighting(self, cam_id: str, outcome: SightingOutcome) -> None: ...
    def uploaded(self, size: int) -> None:
        """A picture of this size in bytes was stored."""
        ...


class UnobservedStore:
    """An observer that ignores everything."""

    def operation(self, name: str, seconds: float) -> None: ...
    def error(self, operation: str, kind: str) -> None: ...
    def stage(self, name: StoreStage, seconds: float) -> None: ...
    def sighting(self, cam_id: str, outcome: SightingOutcome) -> None: ...
    def uploaded(self, size: int) -> None: ...
