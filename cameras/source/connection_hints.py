"""What a camera's connections leave for the following ones."""

from dataclasses import dataclass
from typing import Literal

Transport = Literal["tcp", "udp"]


@dataclass(slots=True)
class ConnectionHints:
    """What worked, or is to be tried next, for one camera."""

    transport: Transport = "tcp"
    """For `transport = "auto"`."""
    transport_works: bool = False
    ffmpeg_url: str | None = None
    """Of a web server, where it is known to be neither motion JPEG nor a snapshot; with the login."""
    payload_type: int | None = None
    """The one that the camera sends, where it offers several."""
