"""Small files that would take gigabytes or minutes are refused before decoding; real pictures are not."""

import io
import struct
import threading
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.errors import PictureError, PicturesBusyError
from pipeline.limits import MAX_PIXELS
from pipeline.pictures import decode_limits
from pipeline.pictures.decode import decode
from pipeline.pictures.memory_budget import DecodeMemory


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(width: int = 32, height: int = 24) -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def jpeg_with_scans(number: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encoded(picture(), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * number + data[-2:]


def jpeg_with(before_the_scan: bytes) -> bytes:
    data = encoded(picture(), "JPEG")
    return data[:2] + before_the_scan + data[2:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(chunks: bytes) -> bytes:
    data = encoded(picture(), "PNG")
    return data[:33] + chunks + data[33:]


def png_in_chunks_of_a_byte() -> bytes:
    row = zlib.compress(bytes(1 + 3 * 32) * 24, 0)
    parts = b"".join(chunk(b"IDAT", row[place : place + 1]) for place in range(len(row)))
    ihdr = struct.pack(">IIBBBBB", 32, 24, 8, 2, 0, 0, 0)
    empty = chunk(b"IDAT", b"") * 70_000
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + empty + parts + chunk(b"IEND", b"")


def gif_with(blocks: bytes) -> bytes:
    data = encoded(picture().convert("P"), "GIF")
    palette = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:palette] + blocks + data[palette:]


def tiff(fields: list[tuple[int, int, int, int]], more: bytes = b"") -> bytes:
    head = b"II*\0" + struct.pack("<IH", 8, len(fields))
    return head + b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4) + more


def tiff_of(width: int, height: int, *fields: tuple[int, int, int, int], more: bytes = b"") -> bytes:
    size = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1)]
    return tiff(sorted([*size, *fields]), more)


def tiff_of_jpeg_strips(compression_field: tuple[int, int, int, int]) -> bytes:
    """8000 × 8000 pixels in eight strips that share one progressive JPEG of 96 scans."""
    strip = jpeg_with_scans(90)
    tables = 6
    place = 8 + 2 + 12 * tables + 24 + 4
    places = struct.pack("<8I", *[place + 64] * 8) + struct.pack("<8I", *[len(strip)] * 8)
    fields = [compression_field, (273, 4, 8, place), (278, 4, 1, 1000), (279, 4, 8, place + 32)]
    return tiff_of(8000, 8000, *fields, more=places + strip)


def exif_of(fields: int) -> bytes:
    """Fields without sense, as in `tiff`."""
    return tiff([(1000 + number % 60_000, 7, 4, 0) for number in range(fields)])


def jpeg_with_exif(block: bytes) -> bytes:
    """In as many segments as it takes; Pillow joins them."""
    parts = [b"Exif\0\0" + block[place : place + 65_000] for place in range(0, len(block), 65_000)]
    return jpeg_with(b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts))


def png_with_raw_profile(block: bytes) -> bytes:
    """EXIF as ImageMagick writes it into PNG."""
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    return png_with(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))


def png_with_exif_behind_its_pixels(block: bytes) -> bytes:
    data = encoded(picture(), "PNG")
    return data[:-12] + chunk(b"eXIf", block) + data[-12:]


EXIF: dict[str, Callable[[int], bytes]] = {
    "JPEG": lambda fields: jpeg_with_exif(exif_of(fields)),
    "PNG": lambda fields: png_with(chunk(b"eXIf", exif_of(fields))),
    "PNG, behind its pixels": lambda fields: png_with_exif_behind_its_pixels(exif_of(fields)),
    "PNG, as text": lambda fields: png_with_raw_profile(exif_of(fields)),
    "WEBP": lambda fields: encoded(picture(), "WEBP", exif=exif_of(fields)),
    "WEBP, animated": lambda fields: encoded(
        picture(), "WEBP", exif=exif_of(fields), save_all=True, append_images=[picture()]
    ),
}

BOMBS: dict[str, Callable[[], bytes]] = {
    "JPEG, 300 scans": lambda: jpeg_with_scans(300),
    "JPEG, 300 scans behind a marker without meaning": lambda: (
        jpeg_with_scans(1)[:-2] + b"\xff\x02\xff\xff" + jpeg_with_scans(300)[2:]
    ),
    "JPEG, 100,000 segments": lambda: jpeg_with(b"\xff\xfe\0\2" * 100_000),
    "JPEG, a megabyte of filling": lambda: jpeg_with(b"\xff" * 1_000_000),
    "JPEG, a megabyte of junk": lambda: jpeg_with(b"a" * 1_000_000),
    "JPEG, no scan": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 10,
    "PNG, 100,000 chunks": lambda: png_with(chunk(b"tIME", b"1234567") * 100_000),
    "PNG, chunks of no bytes": png_in_chunks_of_a_byte,
    "PNG, a text of 20 MB": lambda: png_with(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000), 9))),
    "PNG, a profile of 20 MB": lambda: png_with(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(20_000_000)))),
    "GIF, a comment of small blocks": lambda: gif_with(b"!\xfe" + b"\1a" * 100_000 + b"\0"),
    "GIF, 100,000 extensions": lambda: gif_with(b"!\xfe\1a\0" * 100_000),
    "TIFF, a tile larger than the picture": lambda: tiff_of(
        8, 8, (259, 3, 1, 8), (322, 4, 1, 30_000), (323, 4, 1, 30_000), (324, 4, 1, 300), (325, 4, 1, 99)
    ),
    "TIFF, a million strips": lambda: tiff_of(
        1,
        1_000_000,
        (273, 4, 1_000_000, 200),
        (278, 3, 1, 1),
        (279, 4, 1_000_000, 200),
        more=bytes(4_000_000),
    ),
    "TIFF, strips of JPEG": lambda: tiff_of_jpeg_strips((259, 3, 1, 7)),
    "TIFF, strips of old JPEG": lambda: tiff_of_jpeg_strips((259, 4, 1, 6)),
    "TIFF, compression as a byte": lambda: tiff_of_jpeg_strips((259, 1, 1, 7)),
    "TIFF, big": lambda: b"II+\0\x08\0\0\0" + bytes(100),
    "PPM, a megabyte of comments": lambda: b"P5 " + b"#a\n" * 300_000 + b"1 1 255\n\0",
    "PPM, a megabyte of spaces": lambda: b"P5 1 1" + b" " * 1_000_000 + b"255\n\0",
    "PPM, in Python": lambda: b"P6 1000 1000 254\n" + bytes(3_000_000),
    "PPM, numbers as text": lambda: b"P3 1000 1000 255\n" + b"0 " * 3_000_000,
    "PNG, more pixels than allowed": lambda: (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
    ),
    "PNG, 70,000 rows": lambda: encoded(Image.new("L", (1, 70_000)), "PNG"),
    "PSD": lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9000, 9000, 8, 3) + bytes(20),
    "JPEG 2000": lambda: encoded(picture(), "JPEG2000"),
    "ICO": lambda: encoded(picture(), "ICO"),
    "EPS": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_costs_too_much_is_refused(name: str) -> None:
    """With one line that says why."""
    with pytest.raises(PictureError) as refused:
        decode(BOMBS[name](), MAX_PIXELS)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name", [name for name in BOMBS if name.startswith(("JPEG, 3", "JPEG, 1", "GIF", "TIFF"))]
)
def test_the_file_is_refused_by_its_structure(name: str) -> None:
    """Before Pillow opens it."""
    with pytest.raises(PictureError):
        decode_limits.check_structure(BOMBS[name]())


def test_the_limit_of_scans_depends_on_the_size() -> None:
    """Fifty are allowed for a small picture, but not for one of 64 million pixels."""
    data = jpeg_with_scans(50)
    assert decode(data, MAX_PIXELS).shape == (24, 32, 3)
    large = Image.new("L", (8000, 8000))
    large.format = "JPEG"
    with pytest.raises(PictureError, match="scans"):
        decode_limits.decoding_cost(large, data)


@pytest.mark.parametrize(
    ("kind", "mode", "frames", "pixels"),
    [("WEBP", "RGBA", 2, 48_000_000), ("JPEG", "CMYK", 1, 72_000_000), ("TIFF", "RGBA", 1, 72_000_000)],
)
def test_a_picture_that_costs_more_than_the_limit_is_refused(
    kind: str, mode: str, frames: int, pixels: int
) -> None:
    """Although it is within the pixel limit."""
    image = Image.new(mode, (pixels // 8000, 8000))
    image.format = kind
    image.n_frames = frames  # type: ignore[attr-defined] # as those that Pillow opens have it
    with pytest.raises(PictureError, match="MiB"):
        decode_limits.decoding_cost(image, jpeg_with_scans(1))


@pytest.mark.parametrize("name", EXIF)
def test_exif_of_thousands_of_fields_is_refused(name: str, recwarn: pytest.WarningsRecorder) -> None:
    """Pillow reads each field twice, with a warning each time: a megabyte results in twelve megabytes of
    log."""
    assert decode(EXIF[name](50), MAX_PIXELS).shape == (24, 32, 3)
    recwarn.clear()
    with pytest.raises(PictureError, match="1000 fields"):
        decode(EXIF[name](40_000), MAX_PIXELS)
    assert len(recwarn) < 10


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_data_after_a_jpeg_does_not_count(options: dict[str, object]) -> None:
    """Motion photos have a video after the end marker, which may contain any bytes."""
    data = encoded(picture(), "JPEG", **options)
    scans = decode_limits.jpeg_scans(data)
    assert scans == data.count(b"\xff\xda")
    behind = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x08" * 5000
    assert decode_limits.jpeg_scans(data + behind) == scans
    assert np.array_equal(decode(data + behind, MAX_PIXELS), decode(data, MAX_PIXELS))


def test_a_thumbnail_in_a_jpeg_does_not_count() -> None:
    """Its scans are inside a segment, which the decoder skips."""
    data = encoded(picture(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + 8000) + b"\xff\xda\0\x02" * 2000
    assert decode_limits.jpeg_scans(data[:2] + segment + data[2:]) == 1


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_lossless_compressions_of_tiff_are_decoded(compression: str | None) -> None:
    """Those without loss."""
    data = encoded(picture(), "TIFF", compression=compression)
    assert np.array_equal(decode(data, MAX_PIXELS), np.asarray(picture())[:, :, ::-1])


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_are_upright_in_every_format(kind: str, orientation: int) -> None:
    """As with Pillow; invalid orientations change nothing."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(picture(), kind, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[:, :, ::-1]
    assert np.array_equal(decode(data, MAX_PIXELS), wanted)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr"]
)
def test_every_mode_is_converted_as_by_pillow(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In strips, the last of which is shorter."""
    monkeypatch.setattr("pipeline.pictures.decode._STRIP_PIXELS", 32 * 5)
    kinds = {"1": "PNG", "L": "PNG", "LA": "PNG", "P": "GIF", "PA": "PNG", "RGB": "PNG", "RGBA": "PNG"}
    source = picture().convert("L") if mode in ("I;16", "I", "F", "PA") else picture()
    data = encoded(source.convert("LA" if mode == "PA" else mode), kinds.get(mode, "TIFF"))
    with Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(image.convert("RGB"))[:, :, ::-1]
    assert np.array_equal(decode(data, MAX_PIXELS), wanted)


def test_large_pictures_wait_for_each_other_and_small_ones_do_not() -> None:
    """A second large picture is decoded when the first is released."""
    memory = DecodeMemory(total_bytes=100 * 2**20, wait_seconds=20)
    large = 80 * 2**20
    first = memory.run(large, lambda: np.zeros((4000, 5000, 3), np.uint8))
    assert memory.used == first.nbytes
    memory.run(2**20, lambda: np.zeros((10, 10, 3), np.uint8))
    begun = threading.Event()

    def second() -> np.ndarray:
        begun.set()
        return np.zeros((10, 10, 3), np.uint8)

    thread = threading.Thread(target=memory.run, args=(large, second))
    thread.start()
    assert not begun.wait(0.2)
    del first
    assert begun.wait(20)
    thread.join()
    assert memory.used == 0


def test_a_failed_picture_releases_its_memory() -> None:
    """After an error, and after a wait that timed out."""
    memory = DecodeMemory(total_bytes=100 * 2**20, wait_seconds=0.01)

    def broken() -> np.ndarray:
        raise PictureError("broken")

    with pytest.raises(PictureError):
        memory.run(90 * 2**20, broken)
    assert memory.used == 0
    kept = memory.run(90 * 2**20, lambda: np.zeros((4000, 5000, 3), np.uint8))
    with pytest.raises(PicturesBusyError, match="later"):
        memory.run(90 * 2**20, broken)
    assert memory.used == kept.nbytes
