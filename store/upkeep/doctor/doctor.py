"""Checks MongoDB, the facen storage and the uploads for consistency, and repairs them.

Safe while a recorder is running: objects younger than a grace period are skipped, because they may not be
completely stored, and each suspect is checked again before it is reported or repaired. MongoDB is
authoritative: a repair removes what MongoDB does not refer to, and references to lost pictures. Users and
pictures of other boxes on the same MongoDB are left to these boxes.
"""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import structlog
from bson import ObjectId

from store.context import Context
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.shapes import SHAPES
from store.upkeep.doctor.documents import DocumentsCheck
from store.upkeep.doctor.facens import FacensCheck
from store.upkeep.doctor.findings import Finding, FindingKind, Scope
from store.upkeep.doctor.pictures import PicturesCheck
from store.upkeep.orphans import GRACE as GRACE

log = structlog.get_logger()

MAX_LOGGED = 20
"""Maximum number of findings that a nightly check logs individually."""


class Doctor:
    """Checks the data of all users of this box. Checks must not overlap."""

    def __init__(self, ctx: Context, grace: timedelta = GRACE) -> None:
        self._ctx = ctx
        self._grace = grace

    async def findings(
        self,
        *,
        repair: bool = False,
        repair_facens: bool = False,
        force: bool = False,
        now: datetime | None = None,
    ) -> AsyncIterator[Finding]:
        """Find inconsistencies, in bounded memory.

        Args:
            repair: repair each finding.
            repair_facens: repair only the facen storage.
            force: repair even if the number of findings suggests an unmounted disk or a wrong database.

        Raises:
            StoreError: MongoDB, the facen storage or the uploads cannot be reached.
        """
        try:
            async for finding in self._malformed():
                yield finding
            # Includes malformed users: they are not deleted.
            known = await self._ctx.database["users"].ungated.distinct("_id")
            users = frozenset(one for one in known if isinstance(one, ObjectId))
            checked = users - (await self._ctx.locations.known()).users_elsewhere(users)
            scope = Scope(users, checked, now or datetime.now(UTC), self._grace, repair, repair_facens, force)
            for check in (DocumentsCheck, FacensCheck, PicturesCheck):
                async for finding in check(self._ctx, scope).run():
                    yield finding
        except DRIVER_ERRORS as error:
            raise translate_error(error, "doctor") from error

    async def _malformed(self) -> AsyncIterator[Finding]:
        """Malformed documents and missing indexes. Never repaired: the intended values are unknown."""
        for name in SHAPES:
            async for document in self._ctx.malformed.find(name):
                yield Finding(FindingKind.MALFORMED, f"{name} {document.id!r:.80}", document.fault)
        for index in self._ctx.malformed.indexes:
            yield Finding(FindingKind.NO_INDEX, *index.split(": ", 1))

    async def nightly(self) -> Counter[FindingKind]:
        """Check, repair the facen storage, and log all other findings; returns their numbers by kind."""
        found: Counter[FindingKind] = Counter()
        async for finding in self.findings(repair_facens=True):
            if finding.kind.is_note:
                log.info("the nightly check skipped items", **finding.as_json())
                continue
            found[finding.kind] += 1
            if sum(found.values()) <= MAX_LOGGED:
                log.warning("inconsistency in the store", **finding.as_json())
        if found:
            numbers = {str(kind): number for kind, number in found.items()}
            log.warning(
                "the nightly check found inconsistencies; `facend doctor --repair` repairs them",
                found=numbers,
            )
        else:
            log.info("the nightly check found no inconsistencies")
        return found
