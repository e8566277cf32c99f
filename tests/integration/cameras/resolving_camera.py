"""A camera in a process of its own, for a test that changes what names mean: states and log lines as JSON.

    resolving_camera.py URL

Ends with its standard input.
"""

import logging
import sys

import structlog

from cameras.handler import CameraHandler
from cameras.latest_frame import LatestFrame
from cameras.observer import CameraState, UnobservedCamera
from cameras.settings import CameraSettings


class Telling(UnobservedCamera):
    def state(self, cam_id: str, state: CameraState, reason: str) -> None:
        structlog.get_logger().info("state", camera=cam_id, state=state.value, reason=reason)


def main() -> None:
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    settings = CameraSettings(id="dns", url=sys.argv[1])
    handler = CameraHandler(settings, LatestFrame("dns"), Telling())
    handler.start()
    sys.stdin.read()
    handler.stop()


if __name__ == "__main__":
    main()
