"""The message that docs/events.md shows."""

import re
from pathlib import Path

from daemon.events.payload import EventPayload

DOCUMENT = Path(__file__).parents[4] / "docs" / "events.md"


def test_the_example_is_a_valid_message_with_every_field() -> None:
    """A receiver can be built from the example: it passes the model, and shows each of its fields."""
    (example,) = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    message = EventPayload.model_validate_json(example)
    assert message.model_fields_set == set(EventPayload.model_fields)
    for part in (message.visit, message.person, message.match, message.face):
        assert part is not None
        assert part.model_fields_set == set(type(part).model_fields)
