"""Times as arguments of commands."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from daemon.errors import StartError

_AGO = re.compile(r"(\d{1,6})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
EXPECTED = "2026-03-01, 2026-03-01T14:05, 14:05 (today), or an age such as 90m, 2h or 7d"


def moment(
    option: str, text: str | None, zone: tzinfo | None, now: datetime | None = None
) -> datetime | None:
    """The time that an option names; None without the option.

    Args:
        zone: of times without a zone; None: that of the machine.

    Raises:
        StartError: it is no time.
    """
    if text is None:
        return None
    now = now or datetime.now(UTC)
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
            text = f"{now.astimezone(zone):%Y-%m-%d}T{text.zfill(5 if text.count(':') == 1 else 8)}"
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise StartError(f"{option}: expected {EXPECTED}, not {text!r:.60}") from error
