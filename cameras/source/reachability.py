"""Detects that a camera is back while its old connection stays silent.

When a camera loses power, or a router loses its state, the connection is not closed: nothing arrives, and the
camera's thread waits inside FFmpeg until its timeout. A short second connection, without a password, checks
whether the camera is reachable.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from cameras.settings import CameraSettings
from cameras.source.connection_limiter import limited_connection
from cameras.status.watchdog import Stall
from cameras.urls import UrlKind, host_and_port
from pipeline.base.background import in_thread
from pipeline.base.hosts import DEFAULT_PORTS
from pipeline.base.tls import client_context

INTERVAL_SECONDS = 0.5

TIMEOUT_SECONDS = 1.5

GRACE_SECONDS = 0.7
"""After an outage of the whole network, time for the old connection to resume."""

REQUESTS = {UrlKind.RTSP: b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", UrlKind.HTTP: b"HEAD / HTTP/1.0\r\n\r\n"}


class ProbedCamera(Protocol):
    """A camera whose connection may stall."""

    @property
    def settings(self) -> CameraSettings: ...

    def stall(self) -> Stall | None:
        """The stall of the camera's thread; None while it makes progress."""
        ...

    def reopen(self, stall: Stall) -> bool:
        """Replace the stalled connection by a new one."""
        ...


def is_reachable(settings: CameraSettings) -> bool:
    """Whether the camera sends any answer to a request; blocks up to a few seconds."""
    scheme = settings.url.partition(":")[0].lower()
    host, port = host_and_port(settings.url)
    with contextlib.suppress(OSError, UnicodeError), contextlib.ExitStack() as stack:
        address = (host, port or DEFAULT_PORTS[scheme])
        with limited_connection(settings):
            connection = stack.enter_context(socket.create_connection(address, TIMEOUT_SECONDS))
        if scheme in ("rtsps", "https"):
            # The request holds nothing secret, so any certificate will do.
            context = client_context(verify=False)
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=host))
        connection.sendall(REQUESTS[settings.kind])
        return bool(connection.recv(1))
    return False


class ReachabilityProbe:
    """Reopens cameras that answer a new connection while their own connection stalls."""

    def __init__(self, cameras: Callable[[], Iterable[ProbedCamera]]) -> None:
        """cameras: returns the cameras that run at present."""
        self._cameras = cameras
        self._probes: dict[ProbedCamera, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Probe until cancelled."""
        try:
            while True:
                for camera in self._cameras():
                    if camera not in self._probes and camera.stall() is not None:
                        self._probes[camera] = asyncio.create_task(self._probe(camera), name="reachability")
                await asyncio.sleep(INTERVAL_SECONDS)
                for camera in [camera for camera, probe in self._probes.items() if probe.done()]:
                    self._probes.pop(camera).result()
        finally:
            for probe in self._probes.values():
                probe.cancel()

    async def _probe(self, camera: ProbedCamera) -> None:
        """Probe until the camera's thread makes progress, by itself or because it is reopened."""
        was_away = False
        while (stall := camera.stall()) is not None:
            # In a new daemon thread: a silent name server must delay neither other work nor the exit.
            probe = partial(is_reachable, camera.settings)
            if not await in_thread(probe, f"reachability of {camera.settings.id}"):
                was_away = True
            # A slow camera answers too, while it is being opened. Only a camera that was unreachable, or that
            # has delivered pictures, is reopened.
            elif stall.gave_pictures or was_away:
                await asyncio.sleep(GRACE_SECONDS)
                if camera.reopen(stall):
                    return
            await asyncio.sleep(INTERVAL_SECONDS)
