"""RTSP messages (RFC 2326) and the media packets between them."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_DOLLAR = 0x24
_PACKET_HEAD = 6
"""Bytes up to the RTP payload type: `$`, channel, length, and two of the packet."""
_HEAD = re.compile(rb"(?:RTSP/[0-9.]+ [0-9]{3}|[A-Z_]{4,20} [^\s$])")
_HEAD_PROBE_BYTES = 24
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 1024 * 1024


class Message(NamedTuple):
    """A request or a response."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    @property
    def status(self) -> int | None:
        """Status code of a response; None for a request."""
        return int(self.start.split(" ")[1]) if self.start.startswith("RTSP/") else None

    @property
    def phrase(self) -> str:
        """Status code and reason phrase of a response."""
        return self.start.partition(" ")[2].strip()

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def url(self) -> str:
        return self.start.split(" ")[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def replaced(self, **headers: str | None) -> "Message":
        """A copy with these headers replaced, `_` for `-` in their names; None removes a header."""
        names = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        kept = [(key, value) for key, value in self.headers if key.lower() not in names]
        added = [(name.title(), value) for name, value in names.items() if value is not None]
        # CSeq comes first, where old servers look for it.
        added.sort(key=lambda header: header[0] != "Cseq")
        return self._replace(headers=(*added, *kept))

    def encode(self) -> bytes:
        lines = [self.start, *(f"{'CSeq' if key == 'Cseq' else key}: {value}" for key, value in self.headers)]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + self.body


class MessageReader:
    """Splits the bytes of a connection into RTSP messages and the unchanged data between them."""

    def __init__(self) -> None:
        self.on_packet: Callable[[int, int], None] | None = None
        """Receives channel and RTP payload type of each packet."""
        self._held = b""
        self._packet_bytes_left = 0

    def feed(self, data: bytes) -> Iterator[Message | bytes]:
        """Add data; yields the complete messages and the other data. Media packets are not held back until
        they are complete."""
        buffer = self._held + data if self._held else data
        self._held = b""
        end, start = len(buffer), 0
        at = min(self._packet_bytes_left, end)
        self._packet_bytes_left -= at
        while at < end:
            if buffer[at] == _DOLLAR:
                if end - at < _PACKET_HEAD:
                    break
                if self.on_packet is not None:
                    self.on_packet(buffer[at + 1], buffer[at + 5] & 0x7F)
                at += 4 + (buffer[at + 2] << 8 | buffer[at + 3])
                continue
            found = self._message(buffer, at)
            if found is None:
                break
            message, after = found
            if message is not None:
                if at > start:
                    yield buffer[start:at]
                yield message
                start = after
            at = after
        if at > end:
            self._packet_bytes_left, at = at - end, end
        if at > start:
            yield buffer[start:at]
        self._held = buffer[at:]

    @staticmethod
    def _message(buffer: bytes, at: int) -> tuple[Message | None, int] | None:
        """The message at a position and its end. Returns no message and the end of invalid data, or None for
        an incomplete message."""
        if _HEAD.match(buffer, at) is None:
            if len(buffer) - at < _HEAD_PROBE_BYTES and buffer[at : at + 1].isalpha():
                return None
            dollar = buffer.find(b"$", at + 1)
            return None, len(buffer) if dollar < 0 else dollar
        head_end = _HEAD_END.search(buffer, at)
        if head_end is None:
            return None if len(buffer) - at < _MAX_HEAD_BYTES else (None, len(buffer))
        message = _parse(buffer[at : head_end.start()])
        length = message.get("Content-Length") or "0"
        size = int(length) if length.isdecimal() else 0
        if size > _MAX_BODY_BYTES:
            return None, head_end.end()
        if len(buffer) < head_end.end() + size:
            return None
        kept = tuple(header for header in message.headers if header[0].lower() != "content-length")
        body = buffer[head_end.end() : head_end.end() + size]
        return Message(message.start, kept, body), head_end.end() + size


def _parse(head: bytes) -> Message:
    start, *lines = head.decode("utf-8", "surrogateescape").splitlines()
    pairs = [line.partition(":") for line in lines]
    return Message(start.strip(), tuple((name.strip(), value.strip()) for name, _, value in pairs))
