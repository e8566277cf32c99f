"""The number of persons that a search compares, on which automatic thresholds depend."""

import time

from bson import ObjectId

from store.facens.storage import FacenStorage
from store.mongo.client import Collection
from store.settings import ENROLLED_GALLERY, PERSON_GALLERY, is_person_gallery, reference_gallery

VALID_SECONDS = 60.0
"""Maximum age of a count. Only persons created by this process are added in the meantime."""


class PersonCounts:
    """Counts persons. Cached, because every visit needs the number and a count reads an index entry per
    person."""

    def __init__(self, persons: Collection, facens: FacenStorage) -> None:
        self._persons = persons
        self._facens = facens
        self._counted: dict[ObjectId, tuple[float, int]] = {}

    async def count_candidates(self, owner: ObjectId, gallery: str) -> int:
        """The number of persons in a gallery and, for a person gallery, among the enrolled people.

        The number of a single camera's gallery is bounded by the number of faces compared.
        """
        persons = await self._all(owner)
        if gallery == PERSON_GALLERY:
            return persons
        names = [reference_gallery(gallery), ENROLLED_GALLERY] if is_person_gallery(gallery) else [gallery]
        return min(persons, sum([await self._facens.count(owner, name) for name in names]))

    def increment(self, owner: ObjectId) -> None:
        """Add a created person to the cached count."""
        if owner in self._counted:
            counted_at, number = self._counted[owner]
            self._counted[owner] = (counted_at, number + 1)

    async def _all(self, owner: ObjectId) -> int:
        now = time.monotonic()
        counted_at, number = self._counted.get(owner, (-VALID_SECONDS, 0))
        if now - counted_at >= VALID_SECONDS:
            number = await self._persons.count_documents({"owner": owner})
            self._counted[owner] = (now, number)
        return number
