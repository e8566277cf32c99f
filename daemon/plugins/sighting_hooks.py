"""Calls the plugins' hooks in turn before a sighting is stored, and applies what they decide."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
import structlog
from bson.errors import BSONError

from daemon.plugins.errors import PluginFault, Refuse
from daemon.plugins.hook import Hook
from pipeline.types import Sighting
from store import Face
from store.errors import BadValueError, FacenStorageError, RefusedSightingError, StoreUnavailableError
from store.mongo.documents import storable
from store.spool.codec import plain

log = structlog.get_logger(__name__)

ANNOTATION_BYTES = 64 * 1024
"""Limit of an annotation, which is part of each face's document."""

KEPT_DECISIONS = 100
"""Decisions kept for sightings that are retried, so that hooks are not called again."""


@dataclass
class _Decision:
    """The plugins' decision about one sighting."""

    annotations: dict[str, dict[str, Any]] = field(default_factory=dict)
    meta: str | None = None
    refusal: str = ""


class SightingHooks:
    """Calls the hooks before storing; implements `store.spool.recording.SightingGate`."""

    def __init__(self, before: Sequence[Hook] = ()) -> None:
        self._before = before
        self._decisions: dict[str, _Decision] = {}

    async def admit(self, sighting_id: str, sighting: Sighting, face: Face) -> None:
        """Let each plugin annotate or refuse the sighting.

        The result of a failing hook is ignored. If a hook cannot reach the store, the sighting is retried
        with that hook until the hook is suspended. A retry for other reasons does not call the hooks again.

        Raises:
            RefusedSightingError: a plugin refuses the sighting.
            StoreUnavailableError, FacenStorageError: a hook could not reach the store.
        """
        if sighting_id not in self._decisions:
            self._decisions[sighting_id] = await self._decide(sighting, face)
            if len(self._decisions) > KEPT_DECISIONS:
                del self._decisions[next(iter(self._decisions))]
        decision = self._decisions[sighting_id]
        if decision.refusal:
            raise RefusedSightingError(decision.refusal)
        if decision.annotations:
            face["annotations"] = decision.annotations
        face["meta"] = decision.meta

    async def _decide(self, sighting: Sighting, face: Face) -> _Decision:
        decision = _Decision(meta=face.get("meta"))
        for hook in self._before:
            if hook.rests:
                continue
            # Each hook gets a copy with the annotations of the previous hooks; its other changes are ignored.
            shown = copy.deepcopy(face)
            shown.update({"meta": decision.meta, "annotations": copy.deepcopy(decision.annotations)})
            shown.normalized = sighting.normalized
            try:
                answer = await hook.call(sighting, shown, accept=_HookResult.of(shown))
            except Refuse as refusal:
                decision.refusal = _refused(hook, refusal, sighting)
                return decision
            except (StoreUnavailableError, FacenStorageError):
                if not hook.rests:
                    raise
            except Exception:  # noqa: BLE001, S112 - the hook has logged and counted it
                continue
            else:
                decision.meta = answer.meta
                if answer.annotation is not None:
                    decision.annotations[hook.plugin.name] = answer.annotation
        return decision


@dataclass(frozen=True)
class _HookResult:
    annotation: dict[str, Any] | None
    meta: str | None

    @classmethod
    def of(cls, shown: Face) -> Callable[[object], "_HookResult"]:
        """A function that takes the result from the return value and from the face passed to the hook."""

        def read(returned: object) -> _HookResult:
            if isinstance(returned, Refuse):
                raise returned
            meta = shown.get("meta")
            if not isinstance(meta, str | None):
                raise PluginFault(
                    f"it set the face's meta to {type(meta).__name__}; text or None is expected"
                )
            return cls(None if returned is None else _annotation(returned), meta)

        return read


def _annotation(returned: object) -> dict[str, Any]:
    """Convert the returned dictionary to values that MongoDB can store.

    Raises:
        PluginFault: it is not a dictionary, too large, or cannot be stored.
    """
    if not isinstance(returned, Mapping):
        raise PluginFault(f"it returned {type(returned).__name__}; a dictionary, None or Refuse is expected")
    try:
        annotation = storable(plain(returned))
        size = len(bson.encode(annotation))
    except (BadValueError, BSONError, OverflowError, RecursionError) as error:
        raise PluginFault(f"what it returned cannot be stored: {error}") from error
    if size > ANNOTATION_BYTES:
        raise PluginFault(f"it returned {size} bytes; at most {ANNOTATION_BYTES} are stored with a face")
    return annotation


def _refused(hook: Hook, refusal: Refuse, sighting: Sighting) -> str:
    reason = hook.plugin.count_refusal(refusal.reason)
    log.info("a plugin refuses a sighting", plugin=hook.plugin.name, reason=reason, camera=sighting.cam_id)
    return f"the plugin {hook.plugin.name} refuses it: {reason}"
