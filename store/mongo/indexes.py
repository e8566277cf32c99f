"""The indexes of every collection."""

from collections.abc import Mapping, Sequence

import structlog
from pymongo import ASCENDING, IndexModel

from store.errors import ConflictError, StoreUnavailableError
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.shapes import PROVISIONAL

log = structlog.get_logger()


def _index(*fields: str, unique: bool = False, only_with: str | None = None) -> IndexModel:
    options = {"partialFilterExpression": {only_with: {"$exists": True}}} if only_with else {}
    return IndexModel([(field, ASCENDING) for field in fields], unique=unique, **options)


NAMED = ("watch_lists", "watch_rules", "webhooks", "sink_states")
"""Collections of `store.mongo.named_documents`."""

INDEXES: Mapping[str, Sequence[IndexModel]] = {
    "users": [_index("token", unique=True)],
    "galleries": [_index("owner", "name", unique=True)],
    "cameras": [_index("owner", "id", unique=True)],
    "faces": [
        _index("owner", "gallery", "_id"),
        _index("owner", "person_id", "cam_id", "timestamp"),
        _index("owner", "timestamp"),
        _index("owner", "cam_id", "_id"),
        _index("owner", "cam_id", "person_id"),
        _index("owner", "sighting_id", unique=True, only_with="sighting_id"),
        _index("owner", "detector_info.visit_id", only_with="detector_info.visit_id"),
        _index("owner", "person_outcome", "_id", only_with="person_outcome"),
        _index("owner", "person_changes", only_with="person_changes"),
    ],
    "persons": [
        _index("owner", "lists", only_with="lists"),
        _index("owner", "sighting_id", unique=True, only_with="sighting_id"),
        _index("owner", f"{PROVISIONAL}.galleries", f"{PROVISIONAL}.at", only_with=f"{PROVISIONAL}.at"),
    ],
    "visits": [
        _index("owner", "id"),
        _index("outdated", only_with="outdated"),
        _index("owner", "start", "_id", "quality", "confidence"),
        *(
            _index("owner", field, "start", "_id")
            for field in ("cam_id", "persons", "person_id", "named", "friend", "outcome", "reviewed")
        ),
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
        IndexModel([("expires", ASCENDING)], expireAfterSeconds=0),  # removals at an unknown location
    ],
    "events": [
        _index("owner", "number"),
        _index("owner", "visit_id", "number", only_with="visit_id"),
        _index("owner", "persons", only_with="persons"),
        _index("owner", "facts.rule", "number", only_with="facts.rule"),
        IndexModel(
            [("owner", ASCENDING), ("box", ASCENDING), ("number", ASCENDING)],
            name="unrouted",
            partialFilterExpression={"routed": False},
        ),
        IndexModel([("expires", ASCENDING)], expireAfterSeconds=0),
    ],
    **{
        name: [_index("owner", "name", unique=True)]
        for name in ("watch_lists", "watch_rules", "webhooks", "sink_states")
    },
    "event_deliveries": [
        _index("owner", "box", "sink", "state", "number"),
        _index("owner", "box", "sink", "state", "next_at"),
        _index("owner", "box", "sink", "state", "order_keys", "number"),
        _index("owner", "persons", only_with="persons"),
        IndexModel([("expires", ASCENDING)], expireAfterSeconds=0),
    ],
    # Leases whose holder died.
    "leases": [IndexModel([("expires", ASCENDING)], expireAfterSeconds=3600)],
}


async def create_indexes(database: Database) -> list[str]:
    """Create missing indexes. Can run in several processes at once.

    Returns the indexes that cannot be built because of existing documents, with the reasons. Without them the
    store is slower, and does not enforce their uniqueness.
    """
    refused = []
    for name, indexes in INDEXES.items():
        try:
            await database[name].create_indexes(list(indexes))
        except DRIVER_ERRORS:
            refused += await _create_individually(database, name, indexes)
    for index in refused:
        log.error("an index cannot be built; see `facend doctor`", index=index)
    return refused


async def _create_individually(database: Database, name: str, indexes: Sequence[IndexModel]) -> list[str]:
    """The indexes that are refused. StoreUnavailableError if MongoDB does not answer."""
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
