"""Splits a stream of JPEG data into pictures, regardless of multipart boundaries.

Cameras deviate from the multipart format: the first boundary or a part's type is missing, lengths are wrong,
or there are text parts in between. The structure of a JPEG shows where it ends (ITU-T T.81, B.1).
"""

import re
from collections.abc import Iterator
from enum import Enum, auto

_START = b"\xff\xd8\xff"
_END, _SCAN, _START_OF_IMAGE = 0xD9, 0xDA, 0xD8
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""
_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""The first marker that is not part of the entropy-coded data."""
_MAX_PICTURE_BYTES = 32 * 1024 * 1024


class _Step(Enum):
    NEXT = auto()
    MORE = auto()
    """More data is needed."""
    END = auto()


class JpegSplitter:
    """Splits one stream. Truncated pictures and everything between pictures are left out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        """Position in the picture at the start of the buffer; 0 while no picture has been found."""
        self._in_scan = False
        self.truncated = 0
        """Number of pictures that the next one interrupted."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add data; yields the pictures that it completes."""
        self._buffer += data
        while self._find_start() and self._find_end():
            yield bytes(self._buffer[: self._at])
            self._drop(self._at)

    def _find_start(self) -> bool:
        if self._at:
            return True
        start = self._buffer.find(_START)
        if start < 0:
            del self._buffer[: -len(_START) + 1]
            return False
        del self._buffer[:start]
        self._at = 2
        return True

    def _find_end(self) -> bool:
        """Whether the buffer holds the end of the picture; `_at` is then the position after it."""
        while len(self._buffer) <= _MAX_PICTURE_BYTES:
            step = self._skip_scan() if self._in_scan else self._skip_marker()
            if step is not _Step.NEXT:
                return step is _Step.END
        self._drop(len(self._buffer))
        return False

    def _skip_scan(self) -> _Step:
        """Skip entropy-coded data."""
        found = _AFTER_SCAN.search(self._buffer, self._at)
        if found is None:
            # The last byte may begin a marker.
            self._at = max(self._at, len(self._buffer) - 1)
            return _Step.MORE
        self._at, self._in_scan = found.end() - 2, False
        return _Step.NEXT

    def _skip_marker(self) -> _Step:
        """Skip a marker and its segment."""
        head = self._buffer[self._at : self._at + 4]
        if len(head) < 2:
            return _Step.MORE
        marker = head[1]
        if head[0] != 0xFF or marker == _START_OF_IMAGE:
            # Another picture begins, or garbage, before this one has ended.
            self.truncated += 1
            del self._buffer[:2]
            self._at = 0
            return _Step.NEXT if self._find_start() else _Step.MORE
        if marker == _END or marker in _STANDALONE:
            self._at += 2
            return _Step.END if marker == _END else _Step.NEXT
        if marker == 0xFF:
            self._at += 1
            return _Step.NEXT
        end = self._at + 2 + int.from_bytes(head[2:])
        if len(head) < 4 or end > len(self._buffer):
            return _Step.MORE
        self._at, self._in_scan = end, marker == _SCAN
        return _Step.NEXT

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._at, self._in_scan = 0, False
