"""An RTSP server whose responses a test defines, for responses that real servers do not send."""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np

from tests.scripted_server import ScriptedServer, running

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
)
FRAME_SECONDS = 0.05


@dataclass(frozen=True)
class Request:
    method: str
    url: str
    headers: dict[str, str]
    """Names in lower case."""


@dataclass(frozen=True)
class Answer:
    status: str = "200 OK"
    headers: tuple[str, ...] = ()
    body: str = ""


Script = Callable[[Request], Answer | None]
"""The response to a request; None for the default response."""


def encoded_pictures(
    count: int = 40, key_interval: int = 10, size: tuple[int, int] = (96, 64), *, detail: bool = False
) -> list[bytes]:
    """H.264 pictures in Annex B format, each with its parameter sets at key frames.

    detail: blocks of many colours that move, instead of one colour.
    """
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt, codec.thread_count = *size, "yuv420p", 1
    codec.time_base, codec.framerate = Fraction(1, 20), Fraction(20)
    rate = f"keyint={key_interval}:min-keyint={key_interval}:scenecut=0:repeat-headers=1:slices=1"
    codec.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": rate}
    cells = np.random.default_rng(1).integers(0, 255, (size[1] // 8, size[0] // 8, 3)).astype(np.uint8)
    blocks = cells.repeat(8, axis=0).repeat(8, axis=1)
    pictures = []
    for number in range(count):
        colour = np.full((size[1], size[0], 3), number * 5 % 255, np.uint8)
        shown = np.ascontiguousarray(np.roll(blocks, number % 3, axis=1)) if detail else colour
        frame = av.VideoFrame.from_ndarray(shown, "rgb24")
        frame.pts = number
        pictures += [bytes(packet) for packet in codec.encode(frame)]
    return pictures


def nal_units(picture: bytes) -> list[bytes]:
    return [unit for unit in re.split(b"\x00\x00\x00?\x01", picture) if unit]


@dataclass
class ScriptedRtsp(ScriptedServer):
    """The running server."""

    script: Script
    sdp: str = SDP
    payload_type: int = 96
    pictures: list[bytes] = field(default_factory=encoded_pictures)
    requests: list[Request] = field(default_factory=list)

    def url(self, login: str = "", path: str = "stream") -> str:
        return f"rtsp://{login}127.0.0.1:{self.port}/{path}"

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def serve(self, connection: socket.socket) -> None:
        buffer, send_to = b"", None
        with connection:
            try:
                while data := connection.recv(4096):
                    buffer += data
                    while b"\r\n\r\n" in buffer:
                        head, buffer = buffer.split(b"\r\n\r\n", 1)
                        request = parse(head.decode("latin-1"))
                        self.requests.append(request)
                        answer = self.script(request) or self._default(request)
                        if request.method == "SETUP":
                            found = re.search(r"client_port=(\d+)", request.headers["transport"])
                            send_to = int(found[1]) if found else None
                        connection.sendall(encode(answer, request))
                        if request.method == "PLAY" and answer.status.startswith("200"):
                            arguments = (connection, send_to)
                            threading.Thread(target=self._play, args=arguments, daemon=True).start()
            except OSError:
                return

    def _default(self, request: Request) -> Answer:
        match request.method:
            case "OPTIONS":
                return Answer(headers=("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN",))
            case "DESCRIBE":
                return Answer(headers=(f"Content-Base: {self.url()}/",), body=self.sdp)
            case "SETUP":
                transport = request.headers["transport"].replace("RTP/AVP/UDP", "RTP/AVP")
                if "client_port" in transport:
                    transport += ";server_port=6970-6971"
                return Answer(headers=("Session: 7;timeout=60", f"Transport: {transport}"))
            case _:
                return Answer(headers=("Session: 7",))

    def _play(self, connection: socket.socket, port: int | None) -> None:
        """Sends the pictures in a loop: in the connection, or to a UDP port."""
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sequence = shown = 0
        with datagrams:
            while self.open:
                units = nal_units(self.pictures[shown % len(self.pictures)])
                for number, unit in enumerate(units):
                    last = 0x80 if number == len(units) - 1 else 0
                    head = (0x80, self.payload_type | last, sequence & 0xFFFF)
                    packet = struct.pack(">BBHII", *head, int(shown * FRAME_SECONDS * 90000), 1) + unit
                    sequence += 1
                    try:
                        if port is None:
                            connection.sendall(b"$\x00" + struct.pack(">H", len(packet)) + packet)
                        else:
                            datagrams.sendto(packet, ("127.0.0.1", port))
                    except OSError:
                        return
                shown += 1
                time.sleep(FRAME_SECONDS)


def parse(head: str) -> Request:
    start, *lines = head.split("\r\n")
    pairs = [line.partition(":") for line in lines]
    method, url, _ = start.rsplit("\n", 1)[-1].split(" ")
    # Receiver reports of RTCP may precede a request.
    return Request(
        re.sub(r"^.*[^A-Z_]", "", method), url, {name.lower(): value.strip() for name, _, value in pairs}
    )


def encode(answer: Answer, request: Request) -> bytes:
    lines = [f"RTSP/1.0 {answer.status}", f"CSeq: {request.headers['cseq']}", *answer.headers]
    if answer.body:
        lines += ["Content-Type: application/sdp", f"Content-Length: {len(answer.body)}"]
    return "\r\n".join([*lines, "", answer.body]).encode()


def scripted_rtsp(
    script: Script = lambda request: None, **options: object
) -> AbstractContextManager[ScriptedRtsp]:
    return running(ScriptedRtsp(script, **options))  # type: ignore[arg-type] # options are fields
