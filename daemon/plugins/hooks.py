"""The plugins' say in what is stored: asked before, one after the other; told after, in the background."""

import asyncio
import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
import structlog
from bson.errors import BSONError

from daemon.plugins.errors import PluginFault, Refuse
from daemon.plugins.hook import Hook
from pipeline.base.background import supervised
from pipeline.types import Sighting
from store import Face
from store.errors import BadValueError, FacenStorageError, RefusedSightingError, StoreUnavailableError
from store.mongo.model_store import storable
from store.spool.codec import plain
from store.spool.recording import StoredSighting

log = structlog.get_logger(__name__)

ANNOTATION_BYTES = 64 * 1024
"""Each face's document carries it, and whoever lists faces reads it."""

REMEMBERED_VERDICTS = 100
"""A sighting that is set aside and comes back among the last 100 is not asked about again."""

WAITING_TELLINGS = 1000
"""Stored sightings that a slow hook may lie behind; then it misses the oldest ones."""

DRAIN_SECONDS = 0.5


@dataclass
class _Verdict:
    """What the plugins said about one sighting."""

    annotations: dict[str, dict[str, Any]] = field(default_factory=dict)
    meta: str | None = None
    refusal: str = ""


class SightingHooks:
    """Asks and tells the plugins; a `store.spool.recording.SightingGate`."""

    def __init__(self, before: Sequence[Hook] = (), after: Sequence[Hook] = ()) -> None:
        self._before = before
        self._tellers = [_Teller(hook) for hook in after]
        self._verdicts: dict[str, _Verdict] = {}

    async def admit(self, sighting_id: str, sighting: Sighting, face: Face) -> None:
        """Lets each plugin annotate or refuse the sighting. RefusedSightingError where one refuses.

        A hook that fails has no say: the sighting is stored without it. Where a hook could not reach the
        store the sighting waits and is asked about again, until the hook rests. An attempt at storing
        that is repeated for other reasons does not ask again.
        """
        if sighting_id not in self._verdicts:
            self._verdicts[sighting_id] = await self._ask(sighting, face)
            if len(self._verdicts) > REMEMBERED_VERDICTS:
                del self._verdicts[next(iter(self._verdicts))]
        verdict = self._verdicts[sighting_id]
        if verdict.refusal:
            raise RefusedSightingError(verdict.refusal)
        if verdict.annotations:
            face["annotations"] = verdict.annotations
        face["meta"] = verdict.meta

    def stored(self, stored: StoredSighting) -> None:
        """Tells the hooks after storing, by and by."""
        for teller in self._tellers:
            teller.tell(stored)

    async def close(self) -> None:
        """Gives what waits a moment to be told."""
        await asyncio.gather(*(teller.close() for teller in self._tellers))

    async def _ask(self, sighting: Sighting, face: Face) -> _Verdict:
        verdict = _Verdict(meta=face.get("meta"))
        for hook in self._before:
            if hook.rests:
                continue
            # A copy, with what the plugins before it have said: nothing else that it changes shall count.
            shown = copy.deepcopy(face)
            shown.update({"meta": verdict.meta, "annotations": copy.deepcopy(verdict.annotations)})
            shown.normalized = sighting.normalized
            try:
                answer = await hook.call(sighting, shown, accept=_Answer.of(shown))
            except Refuse as refusal:
                verdict.refusal = _refused(hook, refusal, sighting)
                return verdict
            except (StoreUnavailableError, FacenStorageError):
                if not hook.rests:
                    raise
            except Exception:  # noqa: BLE001, S112 - the hook has logged and counted it, and has no say
                continue
            else:
                verdict.meta = answer.meta
                if answer.note is not None:
                    verdict.annotations[hook.plugin.name] = answer.note
        return verdict


@dataclass(frozen=True)
class _Answer:
    note: dict[str, Any] | None
    meta: str | None

    @classmethod
    def of(cls, shown: Face) -> Callable[[object], "_Answer"]:
        """Reads a hook's answer out of what it returned and what it did to the face it was shown."""

        def read(returned: object) -> _Answer:
            if isinstance(returned, Refuse):
                raise returned
            meta = shown.get("meta")
            if not isinstance(meta, str | None):
                raise PluginFault(
                    f"it set the face's meta to {type(meta).__name__}; text or None is expected"
                )
            return cls(None if returned is None else _note(returned), meta)

        return read


def _note(returned: object) -> dict[str, Any]:
    """The dictionary as MongoDB can hold it. PluginFault where it is none, too large or cannot be stored."""
    if not isinstance(returned, Mapping):
        raise PluginFault(f"it returned {type(returned).__name__}; a dictionary, None or Refuse is expected")
    try:
        note = storable(plain(returned))
        size = len(bson.encode(note))
    except (BadValueError, BSONError, OverflowError, RecursionError) as error:
        raise PluginFault(f"what it returned cannot be stored: {error}") from error
    if size > ANNOTATION_BYTES:
        raise PluginFault(f"it returned {size} bytes; at most {ANNOTATION_BYTES} are stored with a face")
    return note


def _refused(hook: Hook, refusal: Refuse, sighting: Sighting) -> str:
    reason = hook.plugin.count_refusal(refusal.reason)
    log.info("a plugin refuses a sighting", plugin=hook.plugin.name, reason=reason, camera=sighting.cam_id)
    return f"the plugin {hook.plugin.name} refuses it: {reason}"


class _Teller:
    """Tells one hook of stored sightings, one after the other, so that a slow one holds up nobody."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._waiting: asyncio.Queue[StoredSighting] = asyncio.Queue(WAITING_TELLINGS)
        self._task = supervised(self._run(), f"plugin {hook.plugin.name} after")

    def tell(self, stored: StoredSighting) -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
            self._waiting.task_done()
            self._lose()
        self._waiting.put_nowait(stored)

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), DRAIN_SECONDS)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            stored = await self._waiting.get()
            try:
                await self._tell(stored)
            finally:
                self._waiting.task_done()

    async def _tell(self, stored: StoredSighting) -> None:
        if self._hook.rests:
            self._lose()
            return
        try:
            await self._hook.call(stored, accept=lambda _: None)
        except Exception:  # noqa: BLE001 - the hook has logged and counted it
            self._lose()

    def _lose(self) -> None:
        self._hook.plugin.lost += 1
