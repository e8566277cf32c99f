"""What a picture file costs to decode, read from its structure before anything is decoded.

A few kilobytes can ask for gigabytes of memory or minutes of work, and a decoder that runs cannot be ended.
So files whose parts are more, or larger, than those of real pictures are refused first.
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
"""As in JPEG; a picture of millions of rows takes ten times as long as others of its pixels."""
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 1_000_000_000
"""Of a JPEG: each scan goes through all pixels once more."""
MAX_PARTS = 1000
"""Segments, chunks and blocks, each of which Pillow reads by itself, that are no pixels."""
MAX_PNG_CHUNKS = 65_536
MAX_TIFF_VALUES = 65_536
"""Of one field, such as the places of the strips."""
MAX_TILE_PIXELS = 4_194_304
MAX_INTERPRETED_BYTES = 1024 * 1024
"""Of formats that Pillow decodes in Python: a megabyte takes half a second."""
INTERPRETED = ("ppm", "ppm_plain", "bmp_rle")

OUTPUT = 3
"""Bytes of a pixel of the result; those below are what the decoders need besides."""
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
WEBP = 5
"""One frame, decoded straight into the result."""
WEBP_ANIMATION = 20
JPEG_COEFFICIENT = 2
"""Bytes of each pixel and colour, kept until the last scan where there are several."""

_JPEG_MARKER = re.compile(rb"\xff++([^\x00\xff\xd0-\xd7])")
"""Entropy-coded data has a 0 or a restart marker behind each FF (ITU-T T.81, B.1.1.2 and B.1.1.5)."""
_WINDOW = 65_536
_JPEG_FIRST_SEGMENT, _JPEG_SCAN, _JPEG_APP1, _JPEG_END = 0xC0, 0xDA, 0xE1, b"\xd9"
_PNM = re.compile(rb"P(?:[1-6f]|0CMYK|y(?:P|RGBA|CMYK))[\s#]")
_TIFF_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_TIFF_TILE = (322, 323)
_TIFF_COMPRESSION = 259
_TIFF_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 8, 32773, 32946})
"""None, CCITT, LZW, Deflate and PackBits. Each strip of JPEG would bring scans of its own."""


def check_structure(data: bytes) -> None:
    """Raises PictureError where the file has more parts than a picture needs, or a damaged structure."""
    for start, check in _CHECKS.items():
        if data.startswith(start):
            try:
                check(data)
            except (struct.error, IndexError) as error:
                raise PictureError(
                    "the picture is damaged or cut short (its structure ends early)"
                ) from error


def decoding_cost(image: Image.Image, data: bytes) -> int:
    """Bytes of memory that decoding takes at most, the result included. PictureError above the limit."""
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
    """The number of scans of a JPEG up to its end marker; a video behind it (motion photos) is not decoded.

    The walk follows libjpeg: it skips segments by their length, and markers in entropy-coded data that have
    no meaning there byte by byte. PictureError where there is no scan, or too many of anything.
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
    """The next JPEG marker before `end`; searched in windows, as a search holds the interpreter's lock."""
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
        raise PictureError("a BigTIFF is not read; send TIFF, JPEG or PNG instead")
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
            raise PictureError(f"a TIFF of compression {value} is not read; send JPEG or PNG instead")
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
