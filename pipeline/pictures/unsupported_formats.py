"""Recognises unsupported picture formats, for error messages that name the format and a remedy."""

import struct

AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_CANON_RAW = b"crx "
_SIGNATURES = (
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF document"),
    (b"FUJIFILMCCD-RAW", "a raw picture of a camera"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"gimp xcf", "a GIMP document"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance picture"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"II*\0", "a raw picture of a camera, or a TIFF picture with an unusual compression or sample format"),
    (b"MM\0*", "a raw picture of a camera, or a TIFF picture with an unusual compression or sample format"),
    (b"II+\0", "a BigTIFF picture"),
    (b"MM\0+", "a BigTIFF picture"),
)
_MAX_BRANDS = 32


def brands(data: bytes) -> frozenset[bytes]:
    """Major and compatible brands of an ISO base media file (ISO 14496-12, 4.3); empty for other files."""
    if len(data) < 16 or data[4:8] != b"ftyp":
        return frozenset()
    (length,) = struct.unpack_from(">I", data)
    end = min(length, len(data), 16 + 4 * _MAX_BRANDS)
    return frozenset({data[8:12], *(data[place : place + 4] for place in range(16, end - 3, 4))})


def describe_unsupported(data: bytes) -> str:
    """The name of a file's unsupported format, and a remedy; "" for an unknown format."""
    found = brands(data)
    if not AVIF_BRANDS.isdisjoint(found):
        return (
            "an AVIF picture, which this build of Pillow does not support; convert it to JPEG, for example "
            "with `avifdec IN.avif OUT.jpg`"
        )
    if not _HEIC_BRANDS.isdisjoint(found):
        return (
            "a HEIC picture, which is not supported; convert it to JPEG, for example with "
            "`heif-convert IN.heic OUT.jpg`; an iPhone takes JPEG with Settings, Camera, Formats, "
            "Most Compatible"
        )
    if _CANON_RAW in found:
        return "a raw picture of a camera, which is not supported; convert it to JPEG or PNG"
    if found:
        return "a video; take a picture out of it, for example with `ffmpeg -i IN -frames:v 1 OUT.jpg`"
    named = next((name for start, name in _SIGNATURES if data.lstrip()[:16].startswith(start)), "")
    named = named or next((name for start, name in _SIGNATURES if data.startswith(start)), "")
    return f"{named}, which is not supported; convert it to JPEG or PNG" if named else ""
