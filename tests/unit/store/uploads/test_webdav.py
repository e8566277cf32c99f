"""Answers of upload servers."""

import pytest

from store.uploads.webdav import retry_after_seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("1" * 400, 3600.0),
        ("999999", 3600.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2150 07:28:00 GMT", 3600.0),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2150 07:28:00 -0000", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    """Seconds or an HTTP date, limited to one hour; anything else is ignored."""
    assert retry_after_seconds(header) == seconds
