"""The number of persons among whom a face is searched, for thresholds that follow it."""

import time

from bson import ObjectId

from store.facens.storage import FacenStorage
from store.mongo.client import Collection
from store.settings import ENROLLED_GALLERY, PERSON_GALLERY, is_person_gallery, reference_gallery

VALID_SECONDS = 60.0
"""Maximum age of a count. Persons that this process creates are added at once; other processes' are not."""


class PersonCounts:
    """Counts persons. Cached, because every visit needs the number and counting reads an index entry each."""

    def __init__(self, persons: Collection, facens: FacenStorage) -> None:
        self._persons = persons
        self._facens = facens
        self._counted: dict[ObjectId, tuple[float, int]] = {}

    async def searched(self, owner: ObjectId, gallery: str) -> int:
        """The number of persons in a gallery and, for a person gallery, among the enrolled people.

        For the gallery of one camera, the number of faces compared bounds it.
        """
        persons = await self._all(owner)
        if gallery == PERSON_GALLERY:
            return persons
        names = [reference_gallery(gallery), ENROLLED_GALLERY] if is_person_gallery(gallery) else [gallery]
        return min(persons, sum([await self._facens.count(owner, name) for name in names]))

    def added(self, owner: ObjectId) -> None:
        """A person was created."""
        if owner in self._counted:
            at, number = self._counted[owner]
            self._counted[owner] = (at, number + 1)

    async def _all(self, owner: ObjectId) -> int:
        now = time.monotonic()
        at, number = self._counted.get(owner, (-VALID_SECONDS, 0))
        if now - at >= VALID_SECONDS:
            number = await self._persons.count_documents({"owner": owner})
            self._counted[owner] = (now, number)
        return number
