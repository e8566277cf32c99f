"""Limits the number of EXIF fields: Pillow reads each one, and emits a warning for each invalid one."""

import struct
from collections.abc import Mapping
from typing import Any

from pipeline.errors import PictureError

MAX_FIELDS = 1000
"""Cameras write fewer than a hundred."""
HEADER = b"Exif\0\0"
_RAW_PROFILE = "Raw profile type exif"
"""EXIF in a PNG as ImageMagick writes it: three lines of header, then hexadecimal digits."""
_RAW_HEADER_LINES = 3


def check_exif(block: bytes) -> None:
    """Raise PictureError if the EXIF data has too many fields."""
    block = block.removeprefix(HEADER).removeprefix(HEADER)
    order = ">" if block.startswith(b"MM") else "<"
    try:
        (place,) = struct.unpack_from(f"{order}I", block, 4)
        (fields,) = struct.unpack_from(f"{order}H", block, place)
    except struct.error:  # cut short; Pillow finds no field
        return
    if fields > MAX_FIELDS:
        raise PictureError(f"the picture has more than {MAX_FIELDS} fields of EXIF data")


def check_info(info: Mapping[Any, Any]) -> None:
    """As `check_exif`, for the metadata that Pillow has read from a file."""
    if isinstance(block := info.get("exif"), bytes):
        check_exif(block)
    elif isinstance(profile := info.get(_RAW_PROFILE), str):
        check_exif(bytes.fromhex("".join(profile.split("\n")[_RAW_HEADER_LINES:])))
