"""Queries an ONVIF camera for its model, clock and streams. The only module that imports the ONVIF client."""

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cameras.errors import Reason, SourceError
from pipeline.base.hosts import split_authority
from pipeline.base.urls import UrlError, mask_url, split_url

PORTS = (80, 8080, 8000, 8899, 2020)
"""Ports that cameras use for ONVIF, the most common first."""
PATH = "/onvif/device_service"
CONNECT_SECONDS = 2.0
TIMEOUT_SECONDS = 30.0
"""Includes building the client from the WSDL files, which takes seconds on a small box."""
MAX_CONCURRENT_QUERIES = 4
"""Building one camera's client keeps a core busy."""
MAX_PIXELS = 2600 * 1500
"""Larger streams take more time to decode and show few more faces."""
MIN_WIDTH = 1280
MAX_KEYFRAME_SECONDS = 2.0
CODECS = ("H264", "H265", "JPEG")
_LOGIN_REFUSED = "authori|NotAuthorized|authenticat|401"
"""Pattern of error messages about a missing or wrong login; cameras word them differently."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A stream that the camera offers."""

    name: str
    codec: str
    width: int
    height: int
    fps: float | None
    keyframe_seconds: float | None
    """Interval of key frames; None if the camera does not report it."""
    url: str
    """Without user and password."""

    @property
    def description(self) -> str:
        fps = f", {self.fps:g} frames/s" if self.fps else ""
        interval = f", a key frame every {self.keyframe_seconds:g} s" if self.keyframe_seconds else ""
        return f"{self.codec} {self.width}x{self.height}{fps}{interval}"


@dataclass(frozen=True, slots=True)
class OnvifCamera:
    """What an ONVIF camera reports about itself."""

    service: str
    """URL of the camera's ONVIF service."""
    manufacturer: str
    model: str
    firmware: str
    serial: str
    clock_ahead_seconds: float | None
    """Camera's clock minus this machine's clock; None if the camera does not report its time."""
    profiles: tuple[Profile, ...]

    @property
    def recommended(self) -> Profile | None:
        """The stream for Facend: the largest with up to MAX_PIXELS, else the smallest."""
        usable = [profile for profile in self.profiles if profile.codec in CODECS]
        fitting = [profile for profile in usable if profile.width * profile.height <= MAX_PIXELS]
        by_size = sorted(fitting or usable, key=lambda profile: profile.width * profile.height)
        return None if not by_size else by_size[-1 if fitting else 0]

    @property
    def advice(self) -> tuple[str, ...]:
        """Changes to make in the camera's own settings."""
        advice, best = [], self.recommended
        if best is None:
            return ("none of its streams has a codec that Facend reads (H.264, H.265, JPEG)",)
        if best.width < MIN_WIDTH:
            advice.append(
                f"with a width of {best.width} pixels, only faces at close range are recognised; "
                "raise the resolution"
            )
        if best.keyframe_seconds is not None and best.keyframe_seconds > MAX_KEYFRAME_SECONDS:
            advice.append(
                f"a key frame every {best.keyframe_seconds:g} s delays the first picture; set the I-frame "
                "interval (GOP) to 1 or 2 s, and switch smart codecs off"
            )
        if best.fps is not None and best.fps < 5:
            advice.append(f"{best.fps:g} frames per second miss people who walk by; set 10 or more")
        if self.clock_ahead_seconds is not None and abs(self.clock_ahead_seconds) > 60:
            advice.append("the camera's clock is wrong; set an NTP server")
        return tuple(advice)


async def find_services(host: str, ports: Sequence[int] = PORTS) -> list[str]:
    """URLs of the ONVIF services of a host, one for each port that accepts connections.

    host: a host, `host:port`, or the URL of a service, which is returned unchanged.

    Raises:
        SourceError: the host has an invalid name, or no ONVIF port is open.
    """
    if "://" in host:
        return [host]
    try:
        name, port = split_authority(host)
    except UrlError as error:
        raise SourceError(Reason.UNSUPPORTED, f"{mask_url(host)}: {error}") from error

    async def is_open(candidate: int) -> bool:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(name, candidate)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    candidates = ports if port is None else (port,)
    answers = await asyncio.gather(*map(is_open, candidates))
    url_host = f"[{name}]" if ":" in name else name
    found = [
        f"http://{url_host}:{number}{PATH}" for number, ok in zip(candidates, answers, strict=True) if ok
    ]
    if not found:
        tried = ", ".join(map(str, candidates))
        message = f"{host}: no ONVIF port is open (tried {tried}); give the port as HOST:PORT"
        raise SourceError(Reason.REFUSED, message)
    return found


async def query_all(
    devices: Sequence[Sequence[str]], user: str = "", password: str = ""
) -> list[OnvifCamera | SourceError]:
    """Query several devices; returns a camera, or the errors of all its services, for each.

    devices: URLs of the services of each device, tried in order until one answers.
    """
    limit = asyncio.Semaphore(MAX_CONCURRENT_QUERIES)

    async def query_device(services: Sequence[str]) -> OnvifCamera | SourceError:
        errors: list[SourceError] = []
        async with limit:
            for service in services:
                try:
                    return await query(service, user, password)
                except SourceError as error:
                    errors.append(error)
                    if error.reason is Reason.UNAUTHORIZED:  # some cameras lock a user after a few failures
                        break
        return SourceError(errors[0].reason, "; ".join(map(str, errors)))

    return list(await asyncio.gather(*map(query_device, devices)))


async def query(
    service: str, user: str = "", password: str = "", timeout_seconds: float = TIMEOUT_SECONDS
) -> OnvifCamera:
    """Query the camera with this service URL. The password is sent as a digest.

    Raises:
        SourceError: the camera does not answer, does not speak ONVIF, or refuses the login.
    """
    # Imported before the timeout begins: the import takes seconds on a small box.
    import onvif  # noqa: F401

    try:
        async with asyncio.timeout(timeout_seconds):
            return await _query(service, user, password)
    except TimeoutError:
        raise SourceError(Reason.TIMEOUT, f"{service}: no answer within {timeout_seconds:g} s") from None


async def _query(service: str, user: str, password: str) -> OnvifCamera:
    # Slow to import.
    from aiohttp import ClientError
    from onvif import ONVIFCamera, ONVIFError
    from zeep.exceptions import Error as SoapError

    logging.getLogger("onvif").setLevel(logging.CRITICAL)
    logging.getLogger("zeep").setLevel(logging.CRITICAL)
    parts = urlsplit(service)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    camera = ONVIFCamera(parts.hostname or "", port, user, password, adjust_time=True)
    try:
        await camera.update_xaddrs()
        device = await camera.create_devicemgmt_service()
        about = await device.GetDeviceInformation()
        media = await camera.create_media_service()
        profiles = [
            await _read_profile(media, profile, parts.hostname or "") for profile in await media.GetProfiles()
        ]
    except (SoapError, ONVIFError) as error:
        if not re.search(_LOGIN_REFUSED, str(error), re.IGNORECASE):
            raise SourceError(
                Reason.UNSUPPORTED, f"{service}: the ONVIF service reports an error: {error!s:.200}"
            ) from error
        problem = "wrong user or password" if user else "a login is required: use --user and --password-stdin"
        raise SourceError(Reason.UNAUTHORIZED, f"{service}: {problem}") from error
    except (ClientError, OSError, ValueError, AttributeError, TypeError) as error:  # not HTTP, or not ONVIF
        raise SourceError(
            Reason.UNREACHABLE, f"{service}: no ONVIF service answers there ({type(error).__name__})"
        ) from error
    finally:
        await camera.close()
    ahead = camera.dt_diff.total_seconds() if camera.dt_diff is not None else None
    return OnvifCamera(
        service=service,
        manufacturer=_text(about, "Manufacturer"),
        model=_text(about, "Model"),
        firmware=_text(about, "FirmwareVersion"),
        serial=_text(about, "SerialNumber"),
        clock_ahead_seconds=ahead,
        profiles=tuple(profile for profile in profiles if profile is not None),
    )


async def _read_profile(media: Any, profile: Any, host: str) -> Profile | None:  # noqa: ANN401  WSDL types
    """Read a profile and the URL of its stream; None for a profile without video."""
    encoder = getattr(profile, "VideoEncoderConfiguration", None)
    if encoder is None or getattr(encoder, "Resolution", None) is None:
        return None
    answer = await media.GetStreamUri(
        {
            "StreamSetup": {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}},
            "ProfileToken": profile.token,
        }
    )
    fps = getattr(getattr(encoder, "RateControl", None), "FrameRateLimit", None)
    frames = getattr(getattr(encoder, str(encoder.Encoding), None), "GovLength", None)
    return Profile(
        name=_text(profile, "Name"),
        codec=str(encoder.Encoding),
        width=int(encoder.Resolution.Width),
        height=int(encoder.Resolution.Height),
        fps=float(fps) if fps else None,
        keyframe_seconds=round(frames / fps, 1) if frames and fps else None,
        url=_with_host(str(answer.Uri), host),
    )


def _with_host(url: str, host: str) -> str:
    """The stream's URL without a login, with the host that answered: some cameras return an internal
    address."""
    public = split_url(url).public
    parts = urlsplit(public)
    if not parts.hostname or parts.hostname == host:
        return public
    url_host = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=f"{url_host}:{parts.port}" if parts.port else url_host).geturl()


def _text(value: Any, name: str) -> str:  # noqa: ANN401  WSDL types
    return str(getattr(value, name, None) or "").strip()[:256]


def clock_text(ahead_seconds: float | None) -> str:
    """The difference between the camera's clock and this machine's, as text."""
    if ahead_seconds is None:
        return "not reported"
    now = datetime.now(UTC)
    difference = f"{abs(ahead_seconds):.0f} s {'ahead' if ahead_seconds > 0 else 'behind'}"
    if abs(ahead_seconds) < 2:
        return "correct"
    return f"{difference} (this machine: {now:%Y-%m-%d %H:%M:%S} UTC)"
