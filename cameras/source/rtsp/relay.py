"""Relays one RTSP session between FFmpeg and a camera.

FFmpeg follows redirects without a limit, reports only the class of a status, does not support SHA-256 logins,
and receives only the first of several payload types. So FFmpeg connects to this relay on the loopback
interface, without a login. The relay logs in, rewrites URLs and session descriptions, and stores the refusal
that ended an attempt. Media packets pass unchanged.
"""

import contextlib
import secrets
import select
import socket
import ssl
import threading
from dataclasses import dataclass

import structlog

from cameras.settings import CameraSettings
from cameras.source.authentication import Login, challenges
from cameras.source.ffmpeg_errors import connection_error
from cameras.source.rtsp.messages import Message, MessageReader
from cameras.source.rtsp.refusal import UNSUPPORTED_TRANSPORT, Refusal
from cameras.source.rtsp.route import Route, connect
from cameras.source.rtsp.sdp import Media, SessionDescription, rewrite

_CHUNK_BYTES = 256 * 1024
_BUFFER_BYTES = 256 * 1024
"""Send buffer of the socket to FFmpeg. Small, so that data for a slow decoder waits at the camera."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Pending:
    """A request that waits for its response."""

    request: Message
    """As FFmpeg sent it."""
    url: str
    """The camera's URL."""
    login_repeated: bool = False
    """Whether this is already the repetition after a challenge."""


class RtspRelay:
    """One session. Its thread ends with the session, or when the relay is closed."""

    def __init__(self, settings: CameraSettings, route: Route, payload_type: int | None = None) -> None:
        """Connect to the camera. payload_type: RTP payload type to receive if the camera offers several.

        Raises:
            SourceError: the camera cannot be reached.
        """
        self.refusal: Refusal | None = None
        """The camera's last refusal."""
        self.video: Media | None = None
        """The video stream, after the camera has described it."""
        self.described = self.playing = self.receives_media = False
        self.other_payload_type: int | None = None
        """Payload type that the camera sends instead of the expected one; the session ends then."""
        self.has_login = route.user is not None
        self._cam_id = settings.id
        self._wanted_payload_type = payload_type
        self._url = route.url
        self._login = Login(route.user, route.password) if route.user is not None else None
        self._camera = connect(route, settings)
        try:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        except OSError as error:  # such as no free file descriptor
            self._camera.close()
            raise connection_error(error, settings) from None
        self._listener.settimeout(settings.connect_timeout_seconds)
        self._ffmpeg: socket.socket | None = None
        # The path is secret, so that no other process can connect in FFmpeg's place.
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/{secrets.token_urlsafe(16)}"
        """The URL that FFmpeg opens."""
        self._description: SessionDescription | None = None
        self._pending: dict[str, _Pending] = {}
        self._requests = 0
        self._from_camera, self._from_ffmpeg = MessageReader(), MessageReader()
        self._from_camera.on_packet = self._inspect_packet
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"rtsp {settings.id}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the session; the thread ends at once."""
        self._closed = True
        for connection in (self._listener, self._camera, self._ffmpeg):
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(1.0)

    def _run(self) -> None:
        try:
            with self._camera, self._listener:
                self._ffmpeg, _ = self._listener.accept()
                self._listener.close()
                with self._ffmpeg:
                    self._ffmpeg.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._ffmpeg.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
                    self._ffmpeg.settimeout(None)
                    self._camera.settimeout(None)
                    self._relay(self._ffmpeg)
        except OSError as error:
            # FFmpeg sees the end of the stream.
            if not self._closed:
                log.debug("RTSP connection ends", camera=self._cam_id, error=str(error))

    def _relay(self, ffmpeg: socket.socket) -> None:
        poll = select.poll()
        poll.register(self._camera, select.POLLIN)
        poll.register(ffmpeg, select.POLLIN)
        while True:
            ready = {number for number, _ in poll.poll()}
            if self._camera.fileno() in ready and not self._pass_from_camera(ffmpeg):
                return
            if ffmpeg.fileno() in ready and not self._pass_from_ffmpeg(ffmpeg):
                return

    def _pass_from_camera(self, ffmpeg: socket.socket) -> bool:
        """Forward data from the camera to FFmpeg; False at the end of the session."""
        while (data := self._receive()) is not None:
            if not data:
                return False
            for item in self._from_camera.feed(data):
                if isinstance(item, bytes):
                    ffmpeg.sendall(item)
                elif item.status is None:
                    ffmpeg.sendall(item.encode())
                else:
                    self._respond(ffmpeg, item)
            if self.other_payload_type is not None:
                return False
            # TLS may hold decrypted data that poll does not see.
            if not (isinstance(self._camera, ssl.SSLSocket) and self._camera.pending()):
                break
        return True

    def _receive(self) -> bytes | None:
        """Data from the camera; None if TLS has no data yet, as after a session ticket."""
        if not isinstance(self._camera, ssl.SSLSocket):
            return self._camera.recv(_CHUNK_BYTES)
        self._camera.settimeout(0.0)
        try:
            return self._camera.recv(_CHUNK_BYTES)
        except ssl.SSLWantReadError:
            return None
        finally:
            self._camera.settimeout(None)

    def _pass_from_ffmpeg(self, ffmpeg: socket.socket) -> bool:
        """Forward data from FFmpeg to the camera; False at the end of the session."""
        data = ffmpeg.recv(_CHUNK_BYTES)
        for item in self._from_ffmpeg.feed(data):
            if isinstance(item, bytes):
                self._camera.sendall(item)
            elif item.status is not None:
                self._camera.sendall(item.encode())
            elif not item.url.startswith(self.url):
                return False
            else:
                self._send(_Pending(item, self._camera_url(item.url)))
        return bool(data)

    def _inspect_packet(self, _channel: int, payload_type: int) -> None:
        self.receives_media = True
        if self.video is None or not self.video.alternatives:
            self._from_camera.on_packet = None
        elif payload_type in self.video.alternatives:
            self.other_payload_type = payload_type

    def _camera_url(self, local: str) -> str:
        number = local.removeprefix(self.url).strip("/")
        if self._description is None:
            return self._url
        if number.isdecimal() and int(number) < len(self._description.media):
            return self._description.media[int(number)].control
        return self._description.control

    def _send(self, pending: _Pending) -> None:
        self._requests += 1
        number = str(self._requests)
        self._pending[number] = pending
        request = pending.request
        login = self._login.authorization(request.method, pending.url) if self._login else None
        request = request._replace(start=f"{request.method} {pending.url} RTSP/1.0")
        self._camera.sendall(request.replaced(cseq=number, authorization=login).encode())

    def _respond(self, ffmpeg: socket.socket, response: Message) -> None:
        """Forward a response to FFmpeg, unless the request is repeated with a login."""
        pending = self._pending.pop(response.get("CSeq") or "", None)
        if pending is None and len(self._pending) == 1:
            # Some cameras answer with a wrong CSeq, or none.
            pending = self._pending.popitem()[1]
        if pending is None:
            return
        if response.status == 401 and self._log_in(pending, response):
            return
        request = pending.request
        if response.status is not None and response.status >= 300:
            self._store_refusal(request.method, response)
        elif request.method == "DESCRIBE":
            response = self._rewrite_description(pending, response)
        elif request.method == "SETUP":
            response = self._check_transport(request, response)
        elif request.method == "PLAY":
            self.playing = True
        # RTP-Info and Location contain URLs of the camera.
        response = response.replaced(
            cseq=request.get("CSeq"), rtp_info=None, location=None, www_authenticate=None
        )
        if response.status is not None and 300 <= response.status < 400:
            response = response._replace(start="RTSP/1.0 404 Not Found")
        ffmpeg.sendall(response.encode())

    def _log_in(self, pending: _Pending, response: Message) -> bool:
        """Repeat a request with an answer to the challenge in the response; False if that cannot succeed."""
        if self._login is None or pending.login_repeated:
            return False
        if not self._login.accept(challenges(response.all("WWW-Authenticate"))):
            return False
        self._send(_Pending(pending.request, pending.url, login_repeated=True))
        return True

    def _store_refusal(self, method: str, response: Message, other_transport: bool = False) -> None:
        self.refusal = Refusal(
            response.status or 0,
            response.phrase,
            method,
            tuple(challenges(response.all("WWW-Authenticate"))),
            response.get("Location") or "",
            other_transport or response.status == UNSUPPORTED_TRANSPORT,
        )

    def _rewrite_description(self, pending: _Pending, response: Message) -> Message:
        base = response.get("Content-Base") or response.get("Content-Location") or ""
        base = base if "://" in base else pending.url
        text = response.body.decode("utf-8", "surrogateescape")
        description = self._description = rewrite(text, base, self.url, self._wanted_payload_type)
        self.described = True
        self.video = next((media for media in description.media if media.kind == "video"), None)
        body = description.text.encode("utf-8", "surrogateescape")
        return response._replace(body=body).replaced(content_base=self.url, content_location=None)

    def _check_transport(self, request: Message, response: Message) -> Message:
        """Store a refusal if the camera chose another transport than requested; add the sender for UDP."""
        requested, chosen = request.get("Transport") or "", response.get("Transport") or ""
        is_tcp = "tcp" in requested.lower()
        if chosen and is_tcp != ("tcp" in chosen.lower() or "interleaved" in chosen.lower()):
            self._store_refusal("SETUP", response._replace(start=f"RTSP/1.0 200 answered {chosen}"), True)
        if not is_tcp and chosen and "source=" not in chosen.lower():
            # FFmpeg would expect packets from the relay.
            return response.replaced(transport=f"{chosen};source={self._camera.getpeername()[0]}")
        return response
