"""The MQTT topics of one box. Ids make topics; names, which change and have umlauts, are contents."""

import hashlib
import re
from dataclasses import dataclass

ONLINE, OFFLINE = "online", "offline"


@dataclass(frozen=True, slots=True)
class Topics:
    base: str
    """`mqtt.base_topic`."""
    discovery_prefix: str
    box: str
    """The name of the box."""

    @property
    def root(self) -> str:
        return f"{self.base}/{level(self.box)}"

    @property
    def available(self) -> str:
        return f"{self.root}/available"

    @property
    def event(self) -> str:
        return f"{self.root}/event"

    def camera_event(self, cam_id: str) -> str:
        return f"{self.root}/camera/{cam_id}/event"

    def camera_state(self, cam_id: str) -> str:
        return f"{self.root}/camera/{cam_id}/state"

    def camera_last(self, cam_id: str) -> str:
        return f"{self.root}/camera/{cam_id}/last"

    def person_last(self, person_id: int) -> str:
        return f"{self.root}/person/{person_id}/last"

    def person_present(self, person_id: int) -> str:
        return f"{self.root}/person/{person_id}/present"

    @property
    def states(self) -> str:
        """A filter for all retained topics of the box."""
        return f"{self.root}/#"

    @property
    def device(self) -> str:
        """The id of the box in Home Assistant. No other box's id begins with it: the length is fixed."""
        return f"facend_{hashlib.sha256(self.box.encode()).hexdigest()[:12]}"

    def camera_device(self, cam_id: str) -> str:
        return f"{self.device}_camera_{cam_id}"

    def person_device(self, person_id: int) -> str:
        return f"{self.device}_person_{person_id}"

    def discovery(self, device: str) -> str:
        return f"{self.discovery_prefix}/device/{device}/config"

    @property
    def discoveries(self) -> str:
        """A filter for the discovery topics of all devices, of other programs too."""
        return f"{self.discovery_prefix}/device/+/config"

    @property
    def home_assistant(self) -> str:
        """Where Home Assistant publishes that it has started."""
        return f"{self.discovery_prefix}/status"

    def is_ours(self, topic: str) -> bool:
        """Whether this box publishes the topic."""
        if topic.startswith(f"{self.root}/"):
            return True
        return (
            re.fullmatch(
                f"{re.escape(self.discovery_prefix)}/device/{self.device}(_(camera|person)_[^/]+)?/config",
                topic,
            )
            is not None
        )


def level(name: str) -> str:
    """A name as one level of a topic: without the characters that have a meaning there."""
    return re.sub(r"[/+#\x00-\x1f\x7f%]", lambda found: f"%{ord(found[0]):02X}", name)
