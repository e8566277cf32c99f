"""Rewrites a camera's session description (SDP, RFC 8866) for FFmpeg.

FFmpeg uses the first payload type of an `m=` line and drops the packets of all others, so only one is kept.
The control URLs are replaced, because FFmpeg sends its requests to the relay.
"""

import re
from dataclasses import dataclass

_AUXILIARY = frozenset({"rtx", "red", "ulpfec", "flexfec", "flexfec-03", "parityfec"})
"""Payloads that repair a stream instead of carrying one."""
_STATIC = {26: "JPEG", 31: "H261", 32: "MPV", 33: "MP2T", 34: "H263"}
"""Names of video payload types without an rtpmap line (RFC 3551)."""
_PAYLOAD_ATTRIBUTE = re.compile(r"a=(?:rtpmap|fmtp|rtcp-fb|framesize):([0-9]+)\b")


@dataclass(frozen=True, slots=True)
class Media:
    """One `m=` section."""

    kind: str
    control: str
    """URL for SETUP."""
    payload_type: int | None
    """The payload type that is kept."""
    alternatives: tuple[int, ...]
    """The other payload types that carry a stream."""
    formats: tuple[str, ...]
    """All payload types that carry a stream, for messages: `H265 (98)`."""


@dataclass(frozen=True, slots=True)
class SessionDescription:
    text: str
    """The rewritten description, for FFmpeg."""
    control: str
    """URL for PLAY and TEARDOWN."""
    media: tuple[Media, ...]


def rewrite(text: str, base_url: str, local_url: str, payload_type: int | None = None) -> SessionDescription:
    """Replace control URLs by `local_url`/0, /1 and so on, and keep one payload type in each section.

    base_url: the camera's URL, to which relative control URLs are appended. payload_type: the one to keep;
    default: the first.
    """
    session, sections = _sections(text)
    control = _control(session) or ""
    base = control if "://" in control else base_url
    lines = [line for line in session if not line.startswith("a=control:")]
    media = []
    for number, section in enumerate(sections):
        found, kept = _rewrite_section(section, base, payload_type)
        media.append(found)
        lines += [*kept, f"a=control:{local_url}/{number}"]
    return SessionDescription("\r\n".join([*lines, ""]), base, tuple(media))


def _sections(text: str) -> tuple[list[str], list[list[str]]]:
    session: list[str] = []
    sections: list[list[str]] = []
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("m="):
            sections.append([])
        if line:
            (sections[-1] if sections else session).append(line)
    return session, sections


def _control(lines: list[str]) -> str | None:
    found = [line.removeprefix("a=control:").strip() for line in lines if line.startswith("a=control:")]
    return found[-1] if found else None


def _rewrite_section(section: list[str], base: str, preferred: int | None) -> tuple[Media, list[str]]:
    kind, *rest = section[0].removeprefix("m=").split()
    numbers = [int(word) for word in rest[2:] if word.isdecimal()]
    names = {number: _name(number, section) for number in numbers}
    carrying = [number for number in numbers if names[number].lower() not in _AUXILIARY] or numbers
    chosen = preferred if preferred in carrying else next(iter(carrying), None)
    kept = [line for line in section[1:] if not line.startswith("a=control:")]
    if chosen is not None:
        kept = [line for line in kept if _payload_type(line) in (None, chosen)]
        kept.insert(0, " ".join([f"m={kind}", *rest[:2], str(chosen)]))
    else:
        kept.insert(0, section[0])
    media = Media(
        kind,
        _joined(base, _control(section)),
        chosen,
        tuple(number for number in carrying if number != chosen),
        tuple(f"{names[number]} ({number})" for number in carrying),
    )
    return media, kept


def _payload_type(line: str) -> int | None:
    """The payload type that a line describes."""
    found = _PAYLOAD_ATTRIBUTE.match(line)
    return int(found[1]) if found else None


def _name(number: int, section: list[str]) -> str:
    pattern = re.compile(rf"a=rtpmap:{number}\s+([^/\s]+)", re.IGNORECASE)
    found = next((match for line in section if (match := pattern.match(line))), None)
    return found[1] if found else _STATIC.get(number, "unknown")


def _joined(base: str, control: str | None) -> str:
    """The control URL. Cameras expect relative ones to be appended, even to a query, against RFC 3986."""
    if not control or control == "*":
        return base
    if "://" in control:
        return control
    return f"{base}{control}" if base.endswith("/") else f"{base}/{control}"
