"""The facen storage: the search engine over feature vectors."""

from store.facens.engine.local import LocalFacens
from store.facens.storage import FacenHit, FacenSearch, FacenStorage, ShardHealth

__all__ = ["FacenHit", "FacenSearch", "FacenStorage", "LocalFacens", "ShardHealth"]
