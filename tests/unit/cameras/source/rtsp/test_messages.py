"""Splitting the bytes of an RTSP connection."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from cameras.source.rtsp.messages import Message, MessageReader


def packet(payload: bytes, payload_type: int = 96) -> bytes:
    rtp = bytes([0x80, payload_type | 0x80]) + payload
    return b"$\x00" + struct.pack(">H", len(rtp)) + rtp


RESPONSE = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 4\r\n\r\nv=0\n"


@given(
    st.lists(st.one_of(st.binary(max_size=40).map(packet), st.just(RESPONSE)), max_size=8),
    st.lists(st.integers(1, 30), min_size=1, max_size=9),
)
def test_messages_are_found_between_packets_regardless_of_chunks(items: list[bytes], cuts: list[int]) -> None:
    """Packets pass unchanged and in order."""
    stream, reader = b"".join(items) + packet(b"the end"), MessageReader()
    raw, messages, at, turn = b"", [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        for item in reader.feed(stream[at : at + size]):
            if isinstance(item, bytes):
                raw += item
            else:
                messages.append(item)
        at, turn = at + size, turn + 1
    assert raw == b"".join(item for item in [*items, packet(b"the end")] if item != RESPONSE)
    assert messages == [Message("RTSP/1.0 200 OK", (("CSeq", "2"),), b"v=0\n")] * items.count(RESPONSE)


def test_payload_types_are_reported() -> None:
    """For each packet, with its channel."""
    reader, seen = MessageReader(), []
    reader.on_packet = lambda channel, payload_type: seen.append((channel, payload_type))
    list(reader.feed(packet(b"abc", 96) + packet(b"", 98)))
    assert seen == [(0, 96), (0, 98)]


def test_invalid_data_is_passed_on_up_to_the_next_packet() -> None:
    """FFmpeg resynchronises by itself."""
    garbage = b"\x00\x01 noise \r\n\r\n and more of it, which is no message"
    assert b"".join(MessageReader().feed(garbage + packet(b"abc"))) == garbage + packet(b"abc")  # type: ignore[arg-type]


def test_lines_may_end_without_a_carriage_return() -> None:
    """Some cameras write such lines."""
    (message,) = MessageReader().feed(b"RTSP/1.0 401 Unauthorized\nCSeq: 3\nWWW-Authenticate: Basic\n\n")
    assert isinstance(message, Message)
    assert (message.status, message.phrase, message.get("cseq")) == (401, "401 Unauthorized", "3")


def test_headers_are_replaced_regardless_of_case() -> None:
    """None removes a header; CSeq stays first."""
    message = Message("OPTIONS u RTSP/1.0", (("cseq", "1"), ("authorization", "x"), ("Session", "7")))
    encoded = message.replaced(cseq="9", authorization=None).encode()
    assert encoded == b"OPTIONS u RTSP/1.0\r\nCSeq: 9\r\nSession: 7\r\n\r\n"
