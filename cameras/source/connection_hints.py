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
    payload_type: int | None = None
    """RTP payload type that the camera sends if it offers several."""
