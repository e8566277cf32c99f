"""The indexes of every collection."""

from collections.abc import Mapping, Sequence

from pymongo import ASCENDING, IndexModel

from store.client import Database
from store.driver_errors import DRIVER_ERRORS, ours


def _index(*fields: str, unique: bool = False, only_with: str | None = None) -> IndexModel:
    options = {"partialFilterExpression": {only_with: {"$exists": True}}} if only_with else {}
    return IndexModel([(field, ASCENDING) for field in fields], unique=unique, **options)


INDEXES: Mapping[str, Sequence[IndexModel]] = {
    "users": [_index("token", unique=True)],
    "galleries": [_index("owner", "name", unique=True)],
    "cameras": [_index("owner", "id", unique=True)],
    "faces": [
        _index("owner", "gallery", "_id"),
        _index("owner", "person_id", "cam_id", "timestamp"),
        _index("owner", "timestamp"),
        _index("owner", "sighting_id", unique=True, only_with="sighting_id"),
        _index("owner", "detector_info.visit_id", only_with="detector_info.visit_id"),
        _index("owner", "person_outcome", "_id", only_with="person_outcome"),
        _index("owner", "person_changes", only_with="person_changes"),
    ],
    "persons": [
        _index("owner", "sighting_id", unique=True, only_with="sighting_id"),
        _index("owner", "founding.galleries", "founding.at", only_with="founding.at"),
    ],
    "person_changes": [_index("owner", "kind", "other"), _index("owner", "state")],
    "person_proposals": [_index("owner")],
    # What is left of a lease whose holder died.
    "leases": [IndexModel([("expires", ASCENDING)], expireAfterSeconds=3600)],
}


async def create_indexes(database: Database) -> None:
    """Makes the indexes that are missing; any number of processes may do so at once."""
    for name, indexes in INDEXES.items():
        try:
            await database[name].create_indexes(list(indexes))
        except DRIVER_ERRORS as error:
            raise ours(error, f"indexes.{name}") from error
