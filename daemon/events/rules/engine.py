"""Evaluates watch rules on events of visits, and writes `rule.matched` to the outbox.

A match has an id of its own for each rule, visit and person, so that a repeated evaluation reports it once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

import structlog
from pydantic import ValidationError

from daemon.events.rules.settings import RuleSettings
from store import Context, User
from store.collections.watch_lists import WatchLists, lists_of
from store.mongo.named_documents import NamedDocuments
from store.outbox.events import NewEvent, Outbox, OutboxEvent

log = structlog.get_logger(__name__)

RULES = "watch_rules"
"""The collection of rules that commands and the API added."""
RULE_MATCHED = "rule.matched"
VISITS = ("visit.started", "visit.updated")
MOST_FACES = 5000
"""Faces of one person and day that are looked through for their visits."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """What the rules ask about the visitor of one event."""

    event: OutboxEvent
    person: dict[str, Any] | None
    lists: tuple[str, ...]
    """The watch lists that apply to this visit."""

    @property
    def provisional(self) -> bool:
        return self.event.facts.get("provisional") is True

    def is_one_of(self, who: str) -> bool:
        """Whether the visitor is one of `who`. A provisional identity never counts as unnamed or new."""
        facts, named = self.event.facts, bool(self.person and self.person.get("name"))
        match who:
            case "anyone":
                return True
            case "named":
                return named
            case "friend":
                return self.person is not None and facts.get("friend") is True
            case "new":
                return not self.provisional and facts.get("created") is True
            case _:
                return not self.provisional and not named


class RuleEngine:
    """The rules of one user, on the events of this box."""

    def __init__(self, rules: Sequence[RuleSettings], zone: tzinfo, ctx: Context, user: User) -> None:
        """`rules`: those of the settings. `zone`: of the site, for days and hours."""
        self._of_settings = {rule.name: rule for rule in rules}
        self._zone = zone
        self._ctx = ctx
        self._user = user
        self._stored = NamedDocuments(ctx.database, RULES, user["_id"])
        self._lists = WatchLists(ctx.database, user["_id"])
        self._outbox = Outbox(ctx.database, user["_id"], ctx.box)
        self._reported: set[str] = set()

    async def evaluate(self, events: Sequence[OutboxEvent]) -> None:
        """Write the matches of these events. May be repeated.

        Raises:
            StoreError: MongoDB does not answer.
        """
        visits = [event for event in events if event.type in VISITS and event.cam_id and event.visit_id]
        if not visits:
            return
        rules = [rule for rule in (await self.rules()).values() if rule.enabled]
        for event in visits if rules else ():
            visitor = await self._visitor(event)
            for rule in rules:
                if await self._matches(rule, visitor):
                    await self._report(rule, event)

    async def rules(self) -> dict[str, RuleSettings]:
        """All rules by name. One of the settings takes precedence over a stored one of the same name."""
        found: dict[str, RuleSettings] = {}
        for name, content in (await self._stored.all()).items():
            try:
                found[name] = RuleSettings.model_validate({**content, "name": name})
            except ValidationError as error:
                self._report_once(name, f"the stored rule {name} is not valid: {error.errors()[0]['msg']}")
        return found | self._of_settings

    async def _visitor(self, event: OutboxEvent) -> Visitor:
        person = None
        if event.person_id is not None:
            person = await self._ctx.persons.find_one(self._user, {"_id": event.person_id})
        named = lists_of(person)
        if not named:
            return Visitor(event, person, ())
        lists, confidence = await self._lists.all(), event.facts.get("confidence")
        applying = [
            name
            for name in named
            if name in lists and lists[name].applies(event.cam_id or "", confidence, event.at)
        ]
        return Visitor(event, person, tuple(applying))

    async def _matches(self, rule: RuleSettings, visitor: Visitor) -> bool:
        event = visitor.event
        return (
            (not rule.cameras or event.cam_id in rule.cameras)
            and visitor.is_one_of(rule.who)
            and (not rule.list or rule.list in visitor.lists)
            and rule.is_outside(event.at.astimezone(self._zone).time())
            and (not rule.not_seen_days or await self._was_away(rule.not_seen_days, event))
            and (not rule.visits_a_day or await self._visits_today(event) > rule.visits_a_day)
            and (not rule.together_seconds or await self._has_company(rule.together_seconds, event))
            and not await self._is_cooling_down(rule, event)
        )

    async def _was_away(self, days: float, event: OutboxEvent) -> bool:
        if event.person_id is None:
            return False
        started_at = event.facts.get("started_at", event.at)
        earlier = {
            "person_id": event.person_id,
            "timestamp": {"$lt": started_at},
            "detector_info.visit_id": {"$ne": event.visit_id},
        }
        face = await self._ctx.faces.find_one(self._user, earlier, sort=[("timestamp", -1)])
        if face is None or face.timestamp is None:
            return False
        return bool(started_at - face.timestamp >= timedelta(days=days))

    async def _visits_today(self, event: OutboxEvent) -> int:
        """This visit included."""
        if event.person_id is None:
            return 0
        midnight = event.at.astimezone(self._zone).replace(hour=0, minute=0, second=0, microsecond=0)
        today = {"person_id": event.person_id, "timestamp": {"$gte": midnight, "$lte": event.at}}
        faces = await self._ctx.faces.find(self._user, today, limit=MOST_FACES)
        visits = {(face.get("detector_info") or {}).get("visit_id") for face in faces}
        return len((visits | {event.visit_id}) - {None})

    async def _has_company(self, seconds: float, event: OutboxEvent) -> bool:
        """Whether another person was stored at the camera; of two, the second one's event finds the first."""
        around = {
            "$gte": event.at - timedelta(seconds=seconds),
            "$lte": event.at + timedelta(seconds=seconds),
        }
        others = {
            "cam_id": event.cam_id,
            "timestamp": around,
            "detector_info.visit_id": {"$ne": event.visit_id},
            "person_id": {"$nin": [event.person_id, None]},
        }
        return await self._ctx.faces.find_one(self._user, others) is not None

    async def _is_cooling_down(self, rule: RuleSettings, event: OutboxEvent) -> bool:
        last = await self._outbox.last_match(rule.name, event.person_id, event.cam_id)
        return last is not None and _between(last.at, event.at) < timedelta(minutes=rule.cooldown_minutes)

    async def _report(self, rule: RuleSettings, event: OutboxEvent) -> None:
        person = "" if event.person_id is None else str(event.person_id)
        match = NewEvent(
            RULE_MATCHED,
            f"{rule.name} {event.visit_id} {person}",
            event.at,
            event.cam_id,
            event.visit_id,
            event.person_id,
            {**event.facts, "rule": rule.name},
        )
        await self._outbox.add([match])
        log.info("a watch rule matches", rule=rule.name, cam=event.cam_id, person=event.person_id)

    def _report_once(self, key: str, message: str) -> None:
        if key not in self._reported:
            self._reported.add(key)
            log.error("a watch rule is not used", reason=message)


def _between(one: datetime, other: datetime) -> timedelta:
    return abs(other - one)
