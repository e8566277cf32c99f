"""Estimates the cost of decoding a picture file from its structure, and refuses files that cost too much.

A file of a few kilobytes can take gigabytes of memory or minutes to decode, and a running decoder cannot be
interrupted. So files with more or larger parts than real pictures have are refused before decoding.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping

from PIL import Image

from pipeline.errors import PictureError
from pipeline.pictures.exif_limits import HEADER, check_exif

MAX_COST_BYTES = 1024 * 1024 * 1024
"""Maximum memory for decoding one picture."""
MAX_SIDE = 65_535
"""Maximum width and height, as in JPEG. A picture with millions of rows takes ten times as long as others
with the same number of pixels."""
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 1_000_000_000
"""Maximum number of pixels times scans of a JPEG: each scan processes all pixels."""
MAX_PARTS = 1000
"""Maximum number of segments, chunks or blocks without pixels, each of which Pillow reads separately."""
MAX_PNG_CHUNKS = 65_536
MAX_TIFF_VALUES = 65_536
"""Maximum number of values of one field, such as the offsets of the strips."""
MAX_TILE_PIXELS = 4_194_304
MAX_INTERPRETED_BYTES = 1024 * 1024
"""Maximum file size of formats that Pillow decodes in Python: a megabyte takes half a second."""
INTERPRETED = ("ppm", "ppm_plain", "bmp_rle")
"""Pillow's names of the decoders written in Python."""

OUTPUT = 3
"""Bytes per pixel of the decoded picture."""
_BYTES_PER_PIXEL: Mapping[str, int] = {
    "JPEG": 4,
    "MPO": 4,
    "PNG": 8,
    "BMP": 4,
    "GIF": 8,
    "PPM": 8,
    "AVIF": 12,
    "TIFF": 12,
}
"""Memory of the decoders, in addition to the decoded picture."""
WEBP = 5
"""The same for a single frame, which is decoded directly into the result."""
WEBP_ANIMATION = 20
JPEG_COEFFICIENT = 2
"""Additional bytes per pixel and colour of a JPEG with several scans, kept until the last scan."""

_JPEG_MARKER = re.compile(rb"\xff++([^\x00\xff\xd0-\xd7])")
"""In entropy-coded data, each FF is followed by 0 or a restart marker (ITU-T T.81, B.1.1.2 and B.1.1.5)."""
_WINDOW = 65_536
_JPEG_FIRST_SEGMENT, _JPEG_SCAN, _JPEG_APP1, _JPEG_END = 0xC0, 0xDA, 0xE1, b"\xd9"
_PNM = re.compile(rb"P(?:[1-6f]|0CMYK|y(?:P|RGBA|CMYK))[\s#]")
_TIFF_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_TIFF_TILE = (322, 323)
_TIFF_COMPRESSION = 259
_TIFF_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 8, 32773, 32946})
"""None, CCITT, LZW, Deflate and PackBits. Not JPEG, because each strip would have its own scans."""


def check_structure(data: bytes) -> None:
    """Raise PictureError if the file has more parts than a picture needs, or a damaged structure."""
    for start, check in _CHECKS.items():
        if data.startswith(start):
            try:
                check(data)
            except (struct.error, IndexError) as error:
                raise PictureError(
                    "the picture is damaged or cut short (its structure ends early)"
                ) from error


def decoding_cost(image: Image.Image, data: bytes) -> int:
    """Maximum memory for decoding in bytes, including the result. Raises PictureError above the limit."""
    if max(image.size) > MAX_SIDE:
        raise PictureError(
            f"the picture has {image.width} × {image.height} pixels; the limit is {MAX_SIDE} a side"
        )
    pixels = image.width * image.height
    name = image.format or ""
    if name == "WEBP":
        per_pixel = WEBP_ANIMATION if getattr(image, "n_frames", 1) > 1 else WEBP
    else:
        per_pixel = _BYTES_PER_PIXEL[name]
    scans = jpeg_scans(data) if name in ("JPEG", "MPO") else 1
    if scans > 1:
        per_pixel += JPEG_COEFFICIENT * len(image.getbands())
    if scans * pixels > MAX_SCANNED_PIXELS:
        raise PictureError(
            f"the picture has {image.width} × {image.height} pixels in {scans} scans, too many to decode"
        )
    tiles = getattr(image, "tile", ())
    if tiles and tiles[0][0] in INTERPRETED and len(data) > MAX_INTERPRETED_BYTES:
        raise PictureError(
            f"a {name} of this kind has at most {MAX_INTERPRETED_BYTES} bytes, not {len(data)}; "
            "send JPEG or PNG instead"
        )
    cost = pixels * (per_pixel + OUTPUT)
    if cost > MAX_COST_BYTES:
        raise PictureError(
            f"the picture of {image.width} × {image.height} pixels takes {cost // 2**20} MiB to decode; "
            f"the limit is {MAX_COST_BYTES // 2**20} MiB"
        )
    return cost


def _too_many(what: str, most: int) -> PictureError:
    return PictureError(f"the picture has more than {most} {what}")


def jpeg_scans(data: bytes) -> int:
    """The number of scans of a JPEG up to its end marker; the video after it in motion photos is not decoded.

    Parses as libjpeg does: skips segments by their length, and meaningless markers in entropy-coded data byte
    by byte.

    Raises:
        PictureError: the file has no scan, or too many scans or segments.
    """
    scans = 0
    for number, (marker, _) in enumerate(_jpeg_segments(data)):
        scans += marker == _JPEG_SCAN
        if scans > MAX_SCANS:
            raise _too_many("scans", MAX_SCANS)
        if number >= MAX_PARTS:
            raise _too_many("segments", MAX_PARTS)
    if not scans:
        raise PictureError("the picture is damaged or cut short (a JPEG without pixels)")
    return scans


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment up to the end marker."""
    place, scanned = 2, False
    while found := _next_marker(data, place, len(data) if scanned else place + MAX_PARTS):
        place, marker = found.end(), found[1][0]
        if found[1] == _JPEG_END:
            return
        if marker < _JPEG_FIRST_SEGMENT:
            yield marker, b""
            continue
        scanned = scanned or marker == _JPEG_SCAN
        length = max(2, struct.unpack_from(">H", data, place)[0])
        yield marker, data[place + 2 : place + length]
        place += length


def _check_jpeg(data: bytes) -> None:
    jpeg_scans(data)
    blocks = [
        content.removeprefix(HEADER)
        for marker, content in _jpeg_segments(data)
        if marker == _JPEG_APP1 and content.startswith(HEADER)
    ]
    check_exif(b"".join(blocks))  # Pillow joins them as well


def _next_marker(data: bytes, place: int, end: int) -> re.Match[bytes] | None:
    """The next JPEG marker before `end`. Searched in windows, because a search holds the GIL."""
    while True:
        window_end = min(place + _WINDOW, end, len(data))
        found = _JPEG_MARKER.search(data, place, window_end)
        if found is not None or window_end >= min(end, len(data)):
            return found
        place = window_end - (data[window_end - 1] == 0xFF)


def _check_png(data: bytes) -> None:
    place, others = 8, 0
    for _ in range(MAX_PNG_CHUNKS):
        if place + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, place)
        others += kind != b"IDAT"
        if others > MAX_PARTS:
            raise _too_many("chunks beside its pixels", MAX_PARTS)
        if kind == b"IEND":
            return
        place += 12 + length
    raise _too_many("chunks", MAX_PNG_CHUNKS)


def _check_gif(data: bytes) -> None:
    flags = data[10]
    place = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    parts = 0
    while data[place] == 0x21:  # an extension, in blocks of at most 255 bytes
        place += 2
        while length := data[place]:
            place += length + 1
            parts += 1
            if parts > MAX_PARTS:
                raise _too_many("blocks before its pixels", MAX_PARTS)
        place += 1
    if data[place] != 0x2C:
        raise PictureError("the picture is damaged or cut short (a GIF without pixels)")


def _check_tiff(data: bytes) -> None:
    order = "<" if data.startswith(b"II") else ">"
    version, place = struct.unpack_from(f"{order}HI", data, 2)
    if version != 42:
        raise PictureError("BigTIFF is not supported; send TIFF, JPEG or PNG instead")
    (fields,) = struct.unpack_from(f"{order}H", data, place)
    if fields > MAX_PARTS:
        raise _too_many("fields", MAX_PARTS)
    tile = 1
    for number in range(fields):
        entry = place + 2 + 12 * number
        tag, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
        width = _TIFF_VALUE_BYTES.get(kind, 8)
        if count > (MAX_TIFF_VALUES if width > 1 else len(data)):
            raise _too_many(f"values in the field {tag}", MAX_TIFF_VALUES)
        value = struct.unpack_from(f"{order}{_TIFF_INTEGERS.get(kind, 'I')}", data, entry + 8)[0]
        if tag in _TIFF_TILE:
            tile *= value
        if tag == _TIFF_COMPRESSION and value not in _TIFF_COMPRESSIONS:
            raise PictureError(f"TIFF with compression {value} is not supported; send JPEG or PNG instead")
    if tile > MAX_TILE_PIXELS:
        raise PictureError(f"the picture has tiles of {tile} pixels; the limit is {MAX_TILE_PIXELS}")


def _check_pnm(data: bytes) -> None:
    if len(data) > MAX_PARTS and _PNM.match(data):
        numbers = 2 if data[1:2] in b"14" else 3
        head = re.sub(rb"#[^\r\n]*", b"", data[:MAX_PARTS])
        if not re.match(rb"\S+(?:\s+-?[0-9.]+){%d}\s" % numbers, head):
            raise PictureError(f"the picture has no size in its first {MAX_PARTS} bytes")


_CHECKS: Mapping[bytes, Callable[[bytes], object]] = {
    b"\xff\xd8": _check_jpeg,
    b"\x89PNG\r\n\x1a\n": _check_png,
    b"GIF8": _check_gif,
    b"II": _check_tiff,
    b"MM": _check_tiff,
    b"P": _check_pnm,
}
