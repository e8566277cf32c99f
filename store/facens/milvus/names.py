"""Names in Milvus: a collection for each owner, a partition for each gallery.

Milvus accepts only letters, digits and `_` (https://milvus.io/docs/limitations.md). Names of galleries may
also contain `-`, so they are escaped.
"""

import re

from bson import ObjectId

COLLECTION = re.compile(r"facend_([0-9a-f]{24})")
PARTITION = "g_"
ESCAPES = {"_": "__", "-": "_m"}
_ESCAPED = re.compile(r"_[_m]")


def collection_of(owner: ObjectId) -> str:
    return f"facend_{owner}"


def owner_of(collection: str) -> ObjectId | None:
    """None for a foreign collection."""
    found = COLLECTION.fullmatch(collection)
    return ObjectId(found[1]) if found else None


def partition_of(gallery: str) -> str:
    return PARTITION + "".join(ESCAPES.get(sign, sign) for sign in gallery)


def gallery_of(partition: str) -> str | None:
    """None for a foreign partition, such as Milvus' `_default`."""
    if not partition.startswith(PARTITION):
        return None
    signs = {escape: sign for sign, escape in ESCAPES.items()}
    return _ESCAPED.sub(lambda found: signs[found[0]], partition.removeprefix(PARTITION))
