"""Gauges whose values are read at scrape time."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

GAUGES: dict[str, tuple[str, str | None]] = {
    "facend_spool_sightings": ("Sightings in the spool", None),
    "facend_spool_oldest_seconds": ("Age of the oldest sighting in the spool", None),
    "facend_spool_bytes": ("Size of the sightings in the spool", None),
    "facend_spool_max_bytes": ("Size of the spool at which poor and old sightings are dropped", None),
    "facend_disk_free_bytes": ("Free bytes on a disk that the daemon writes to", "folder"),
    "facend_disk_size_bytes": ("Size of a disk that the daemon writes to", "folder"),
    "facend_disk_reserve_bytes": ("Bytes that pictures leave free on their disk", "folder"),
    "facend_facen_shards": ("Shards of the facen storage", "state"),
    "facend_facens": ("Facens in the facen storage", "gallery_kind"),
    "facend_facens_bytes": ("Memory of this process used by facens", None),
    "facend_malformed_documents": ("Malformed documents in MongoDB, which readers skip", "collection"),
    "facend_changes_followed": ("1 while changes by other processes reach the facens in memory", None),
    "facend_camera_overloaded": (
        "1 while decoding is limited to key frames for lack of processor time",
        "camera",
    ),
    "facend_http_connections": ("Open HTTP connections", None),
    "facend_event_loop_tasks": ("Unfinished tasks on the event loop", None),
}
"""Help text of each gauge, and its label or None."""


class Gauges(Collector):
    """Reads its gauges at scrape time, so that they are never stale."""

    def __init__(self) -> None:
        self._readers: dict[str, Callable[[], dict[str, float]]] = {}

    def add(self, name: str, read: Callable[[], dict[str, float]]) -> None:
        """Register one of `GAUGES`. `read` returns values by label value; without a label the key is ""."""
        if name not in GAUGES:
            raise KeyError(f"{name} is not a metric of Facend: add it to daemon.runtime.gauges.GAUGES")
        self._readers[name] = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, read in self._readers.items():
            text, label = GAUGES[name]
            family = GaugeMetricFamily(name, text, labels=[label] if label else None)
            try:
                values = read()
            except OSError:  # such as a disk that is gone; the other metrics stay
                values = {}
            for key, value in values.items():
                family.add_metric([key] if label else [], value)
            yield family
