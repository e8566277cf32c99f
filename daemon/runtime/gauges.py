"""Gauges that are read when somebody scrapes."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

GAUGES: dict[str, tuple[str, str | None]] = {
    "facend_spool_sightings": ("Sightings that wait for the store", None),
    "facend_spool_oldest_seconds": ("Age of the oldest sighting that waits", None),
    "facend_spool_bytes": ("Bytes of the sightings that wait", None),
    "facend_spool_max_bytes": ("How many bytes may wait, before poor and old sightings are dropped", None),
    "facend_disk_free_bytes": ("Free bytes on a disk that the daemon writes to", "folder"),
    "facend_disk_size_bytes": ("Size of a disk that the daemon writes to", "folder"),
    "facend_disk_reserve_bytes": ("Bytes that pictures leave free on their disk", "folder"),
    "facend_facen_shards": ("Shards of the facen storage", "state"),
    "facend_facens": ("Facens in the facen storage", "gallery_kind"),
    "facend_facens_bytes": ("Memory of this process that the facens take", None),
    "facend_malformed_documents": ("Documents in MongoDB that no reader takes", "collection"),
    "facend_changes_followed": ("1 while changes by other processes reach the facens in memory", None),
    "facend_camera_overloaded": (
        "1 while only key frames are decoded where nothing happens, for lack of time",
        "camera",
    ),
    "facend_http_connections": ("Open HTTP connections", None),
    "facend_event_loop_tasks": ("Tasks on the event loop that are not done", None),
}
"""What is read when somebody scrapes: the text, and the label where there is one."""


class Gauges(Collector):
    """Gauges that are read when somebody scrapes, so that they cannot go stale."""

    def __init__(self) -> None:
        self._readers: dict[str, Callable[[], dict[str, float]]] = {}

    def add(self, name: str, read: Callable[[], dict[str, float]]) -> None:
        """One of `GAUGES`. `read` gives a value by label value; without a label its only key is ""."""
        if name not in GAUGES:
            raise KeyError(f"{name} is no metric of Facend: name it in daemon.runtime.gauges.GAUGES")
        self._readers[name] = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, read in self._readers.items():
            text, label = GAUGES[name]
            family = GaugeMetricFamily(name, text, labels=[label] if label else None)
            try:
                values = read()
            except OSError:  # a disk that is gone has no free bytes to tell of; the other metrics matter more
                values = {}
            for key, value in values.items():
                family.add_metric([key] if label else [], value)
            yield family
