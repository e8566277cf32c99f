"""What the connections of a camera have learned, for the next connection."""

from dataclasses import dataclass
from typing import Literal

Transport = Literal["tcp", "udp"]


@dataclass(slots=True)
class ConnectionHints:
    """Options that worked for one camera, or that the next connection should try."""

    transport: Transport = "tcp"
    """Used with `transport = "auto"`."""
    transport_works: bool = False
    """Whether packets have arrived over this transport."""
    ffmpeg_url: str | None = None
    """URL with login of a web server whose stream FFmpeg reads: neither motion JPEG nor a snapshot. None if
    that is not known yet."""
    payload_type: int | None = None
    """RTP payload type that the camera sends if it offers several."""
