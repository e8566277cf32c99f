"""Finds the person of a face, or creates exactly one, also across processes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from bson import ObjectId

from store.collections.faces import Faces
from store.mongo.lease import Leases
from store.mongo.shapes import PROVISIONAL
from store.observer import PersonOutcome
from store.recognition.question import Question
from store.recognition.recognition import Recognition, Verdict
from store.settings import is_person_gallery, reference_gallery


@dataclass(frozen=True, slots=True)
class PersonMatch:
    """The person of a face."""

    person_id: int | None
    """None if no person is similar enough and none was created."""
    outcome: PersonOutcome
    """`created`: for this face, or by an earlier call for the same sighting. `withheld`: no person is similar
    enough, and none was created. `ambiguous`: a camera's face may be a known person or a new one."""
    confidence: float | None
    """Confidence of the nearest known person, 0 to 1, also below the threshold; None without one."""
    reason: str = ""
    """Why a face of a camera has no person, in words."""

    @property
    def created(self) -> bool:
        return self.outcome == "created"


class PersonResolver:
    """Runs recognition on a question, and creates a person under locks if there is none."""

    def __init__(
        self,
        recognition: Recognition,
        faces: Faces,
        leases: Leases,
        limited: Callable[[str, dict[str, Any]], AbstractAsyncContextManager[int]],
    ) -> None:
        """`limited`: gives the `maxTimeMS` of an operation with these filters."""
        self._recognition = recognition
        self._faces = faces
        self._leases = leases
        self._limited = limited

    async def resolve(
        self, question: Question, create_person: Callable[[Mapping[str, Any]], Awaitable[int]] | None
    ) -> list[PersonMatch]:
        """The matches, best first; at least one, which may have no person.

        Args:
            create_person: creates a person with these fields and returns its id; None to create none.
        """
        verdict = await self._verdict("identify", question, create=create_person is not None)
        if create_person is None or verdict.outcome != "created":
            return _matches(verdict)
        async with AsyncExitStack() as stack:
            await self._lock(stack, question.owner, question.galleries)
            verdict = await self._verdict("identify_again", question, create=True, provisional=True)
            if verdict.outcome == "created":
                await self._lease(stack, question.owner, question.galleries)
                verdict = await self._verdict("identify_again", question, create=True, provisional=True)
            if verdict.outcome != "created":
                return _matches(verdict)
            person_id = await create_person({PROVISIONAL: question.provisional_mark()})
            return [PersonMatch(person_id, "created", verdict.confidence)]

    @asynccontextmanager
    async def exclusive(self, owner: ObjectId, galleries: Sequence[str]) -> AsyncIterator[None]:
        """Lock the creation and merging of persons in these person galleries, across all processes.

        The facen storage is up to date with other processes inside the block. Hold it for a few seconds at
        most.
        """
        async with AsyncExitStack() as stack:
            await self._lock(stack, owner, galleries)
            await self._lease(stack, owner, galleries)
            yield

    async def _lock(self, stack: AsyncExitStack, owner: ObjectId, galleries: Iterable[str]) -> None:
        for gallery in sorted(galleries):
            await stack.enter_async_context(self._leases.local(f"{owner}/{gallery}"))

    async def _lease(self, stack: AsyncExitStack, owner: ObjectId, galleries: Iterable[str]) -> None:
        for gallery in sorted(galleries):
            await stack.enter_async_context(self._leases.held(f"{owner}/{gallery}"))
        for gallery in galleries:
            await self._faces.catch_up(owner, gallery)
            if is_person_gallery(gallery):
                await self._faces.catch_up(owner, reference_gallery(gallery))

    async def _verdict(
        self, operation: str, question: Question, *, create: bool, provisional: bool = False
    ) -> Verdict:
        async with self._limited(operation, question.query) as max_time_ms:
            limited = replace(question, max_time_ms=max_time_ms)
            return await self._recognition.verdict(limited, create=create, provisional=provisional)


def _matches(verdict: Verdict) -> list[PersonMatch]:
    if not verdict.persons:
        return [PersonMatch(None, verdict.outcome, verdict.confidence, verdict.reason)]
    return [PersonMatch(one.person_id, verdict.outcome, one.confidence) for one in verdict.persons]
