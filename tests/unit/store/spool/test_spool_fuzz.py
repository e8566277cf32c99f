"""A spool folder in which anything may lie: what is whole is kept, all else is put aside and counted."""

import hashlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from store.errors import MalformedSightingError
from store.observer import UnobservedStore
from store.spool import codec as sighting_file
from store.spool.codec import _FIXED
from store.spool.spool import Spool
from tests.sightings import assert_same, sighting
from tests.spools import SightingOutcomes

WHOLE = sighting(photo_bytes=b"photo", normalized_bytes=b"normalized")
ENCODED = sighting_file.encode(WHOLE)


def flipped(bit: int) -> bytes:
    content = bytearray(ENCODED)
    content[bit // 8] ^= 1 << bit % 8
    return bytes(content)


def signed(content: bytes) -> bytes:
    """With the checksum that belongs to it."""
    magic, version, head_length, body_length, _ = _FIXED.unpack_from(ENCODED)
    digest = hashlib.sha256(content).digest()
    return _FIXED.pack(magic, version, head_length, body_length, digest) + content


broken = (
    st.binary(max_size=300)
    | st.integers(0, len(ENCODED) - 1).map(lambda length: ENCODED[:length])
    | st.integers(0, len(ENCODED) * 8 - 1).map(flipped)
    | st.binary(min_size=1, max_size=20).map(lambda more: ENCODED + more)
)
names = (
    st.integers(0, 10**15 - 1).map(lambda number: f"{number:015d}_{number:032x}.sighting")
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20)
    | st.sampled_from(["x" * 255, "ä" * 127, ".x.part", "x.reason", "-", "\n", "x.sighting.reason"])
).filter(lambda name: name not in (".", "..", "dead"))


@settings(max_examples=30)
@given(files=st.dictionaries(names, broken, max_size=5), folders=st.sets(names, max_size=2))
def test_any_files_in_the_folder_leave_sightings_intact(files: dict[str, bytes], folders: set[str]) -> None:
    """Damaged and foreign files become dead letters, each counted once; all valid sightings can be read."""
    with tempfile.TemporaryDirectory() as folder:
        spool_folder = Path(folder)
        kept = [Spool(spool_folder, 10**6, UnobservedStore()).put(WHOLE) for _ in range(2)]
        for name, content in files.items():
            (spool_folder / name).write_bytes(content)
        for name in folders:
            if name not in files:
                (spool_folder / name).mkdir()
        observer = SightingOutcomes()
        spool = Spool(spool_folder, 10**6, observer)
        for sighting_id in spool.pending():
            if sighting_id in kept:
                assert_same(spool.get(sighting_id), WHOLE)
                continue
            try:
                spool.get(sighting_id)
            except MalformedSightingError as error:
                spool.dead(sighting_id, str(error))
        assert spool.pending() == sorted(kept)
        temporary = {name for name in files if name.startswith(".") and name.endswith(".part")}
        dead = [outcome for _, outcome in observer.outcomes].count("dead")
        assert dead == len(files.keys() - temporary)
        assert len(list((spool_folder / "dead").glob("*.reason"))) >= dead


@given(sighting_id=st.text(max_size=60) | names)
def test_refuses_any_foreign_id(sighting_id: str) -> None:
    """Ids that the spool did not create are refused before a path is made of them."""
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder, "outside.sighting")
        outside.write_bytes(ENCODED)
        spool = Spool(Path(folder, "spool"), 10**6, UnobservedStore())
        for use in (spool.get, spool.done, lambda one: spool.dead(one, "a reason")):
            try:
                use(sighting_id)
            except (KeyError, ValueError):
                continue
            raise AssertionError(f"{sighting_id!r} was taken for a sighting's id")
        assert outside.read_bytes() == ENCODED


@given(bits=st.lists(st.integers(min_value=0), min_size=1, max_size=3))
def test_decodes_or_refuses_any_content_with_a_valid_checksum(bits: list[int]) -> None:
    """A forged file is a sighting or a MalformedSightingError."""
    content = bytearray(ENCODED[_FIXED.size :])
    for bit in bits:
        content[bit // 8 % len(content)] ^= 1 << bit % 8
    try:
        sighting_file.decode(signed(bytes(content)))
    except MalformedSightingError:
        return
