"""The retained topics of the box: what the broker keeps, so that others know it at once when they connect."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Publication:
    topic: str
    content: str
    """Empty removes a retained topic."""
    retain: bool = True


class RetainedTopics:
    """What each topic should hold. Methods that change it return what has to be published."""

    def __init__(self) -> None:
        self._contents: dict[str, str] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._contents

    def __iter__(self) -> Iterator[Publication]:
        return (Publication(topic, content) for topic, content in list(self._contents.items()))

    def get(self, topic: str) -> str | None:
        return self._contents.get(topic)

    def put(self, topic: str, content: str) -> list[Publication]:
        """Nothing is published again that is there already."""
        if self._contents.get(topic) == content:
            return []
        self._contents[topic] = content
        return [Publication(topic, content)]

    def drop(self, *topics: str) -> list[Publication]:
        return [Publication(topic, "") for topic in topics if self._contents.pop(topic, None) is not None]
