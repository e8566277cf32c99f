"""The indexes of every collection."""

from collections.abc import Mapping, Sequence

import structlog
from pymongo import ASCENDING, IndexModel

from store.errors import ConflictError, StoreUnavailableError
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

log = structlog.get_logger()


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
    "accounts": [_index("owner", "key", unique=True)],
    "api_tokens": [_index("digest", unique=True), _index("owner", "name", unique=True)],
    "sessions": [
        _index("digest", unique=True),
        _index("account"),
        IndexModel([("expires", ASCENDING)], expireAfterSeconds=0),
    ],
    "audit": [_index("owner", "_id"), _index("owner", "at"), _index("owner", "object", "_id")],
    "picture_removals": [
        _index("location"),
        IndexModel([("expires", ASCENDING)], expireAfterSeconds=0),  # where the place is unknown
    ],
    # What is left of a lease whose holder died.
    "leases": [IndexModel([("expires", ASCENDING)], expireAfterSeconds=3600)],
}


async def create_indexes(database: Database) -> list[str]:
    """Makes the indexes that are missing; any number of processes may do so at once.

    Returns those that MongoDB refuses to build, because documents that are there stand against it, each with
    the reason: the store works without them, more slowly, and without their guard against doubles.
    """
    refused = []
    for name, indexes in INDEXES.items():
        try:
            await database[name].create_indexes(list(indexes))
        except DRIVER_ERRORS:
            refused += await _one_by_one(database, name, indexes)
    for one in refused:
        log.error("an index cannot be built; see `facend doctor`", index=one)
    return refused


async def _one_by_one(database: Database, name: str, indexes: Sequence[IndexModel]) -> list[str]:
    """Those that are refused. StoreUnavailableError where MongoDB is away."""
    refused = []
    for index in indexes:
        try:
            await database[name].create_indexes([index])
        except DRIVER_ERRORS as error:
            translated = translate_error(error, f"indexes.{name}")
            if isinstance(translated, StoreUnavailableError):
                raise translated from error
            reason = str(translated) if isinstance(translated, ConflictError) else _reason(error)
            refused.append(f"{name}.{index.document['name']}: {reason}")
    return refused


def _reason(error: Exception) -> str:
    details = getattr(error, "details", None) or {}
    return str(details.get("codeName") or type(error).__name__)
