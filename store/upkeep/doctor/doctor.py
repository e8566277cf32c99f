"""The agreement of MongoDB, the facen storage and the uploads: what is wrong, and mending it.

Safe beside a running recorder: what is younger than a grace period is left alone, since it
may be on its way, and every suspect is looked at once more before it is reported or mended.
MongoDB is the truth; what it does not name goes, and what is lost it names no more. Users and
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

LOGGED = 20
"""Maximum number of findings that a nightly check logs one by one."""


class Doctor:
    """Checks everything of all users of this box. Checks must not overlap."""

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
        """What does not agree, one after the other, mended if `repair`; memory stays small.

        `repair_facens` mends the facen storage alone. `force` mends also where so much is wrong that a disk
        that is not mounted or a wrong database is more likely. StoreError where a part cannot be reached.
        """
        try:
            async for finding in self._unread():
                yield finding
            # A malformed user's data is not a deleted user's.
            known = await self._ctx.database["users"].ungated.distinct("_id")
            users = frozenset(one for one in known if isinstance(one, ObjectId))
            checked = users - (await self._ctx.locations.places()).of_others(users)
            scope = Scope(users, checked, now or datetime.now(UTC), self._grace, repair, repair_facens, force)
            for check in (DocumentsCheck, FacensCheck, PicturesCheck):
                async for finding in check(self._ctx, scope).run():
                    yield finding
        except DRIVER_ERRORS as error:
            raise translate_error(error, "doctor") from error

    async def _unread(self) -> AsyncIterator[Finding]:
        """What no reader takes. It is never mended here: only a person knows what was meant."""
        for name in SHAPES:
            async for one in self._ctx.malformed.found(name):
                yield Finding(FindingKind.MALFORMED, f"{name} {one.id!r:.80}", one.fault)
        for index in self._ctx.malformed.indexes:
            yield Finding(FindingKind.NO_INDEX, *index.split(": ", 1))

    async def nightly(self) -> Counter[FindingKind]:
        """Checks, mends the facen storage, and logs the rest for a person to look at; the numbers by kind."""
        found: Counter[FindingKind] = Counter()
        async for finding in self.findings(repair_facens=True):
            if finding.kind.is_note:
                log.info("the nightly check left out", **finding.as_json())
                continue
            found[finding.kind] += 1
            if sum(found.values()) <= LOGGED:
                log.warning("the store does not agree with itself", **finding.as_json())
        if found:
            numbers = {str(kind): number for kind, number in found.items()}
            log.warning("the nightly check found something; see `facend doctor --repair`", found=numbers)
        else:
            log.info("the nightly check found nothing wrong")
        return found
