"""Camera ids in tracebacks, and so in crash reports."""

import sys
import threading
import traceback
from typing import cast

import pytest
from av.video.frame import VideoFrame

from cameras.source.pixels import Converter
from tests.scripted_camera import Notes, Script, handler, picture


def test_the_stack_of_a_cameras_thread_contains_its_id() -> None:
    """With the fingerprint of its settings."""
    seen: list[list[str]] = []
    read = threading.Event()

    def look() -> None:
        seen.append([frame.name for frame in traceback.extract_stack(sys._getframe())])
        read.set()

    camera = handler(Script([picture(0.0), look]), Notes())
    camera.start()
    assert read.wait(10)
    assert camera.stop(10)
    assert camera.settings.crash_tag in seen[0]
    assert camera.settings.id in camera.settings.crash_tag
    assert camera.settings.model_copy(update={"max_fps": 3}).crash_tag != camera.settings.crash_tag


def test_a_conversion_is_tagged_on_the_stack_of_its_caller() -> None:
    """Pictures are converted on the analysis thread, which serves all cameras."""
    with pytest.raises(AttributeError) as raised:
        Converter("camera door 0123456789abcdef").convert(cast("VideoFrame", 7), 4, 4, "gray")
    assert "camera door 0123456789abcdef" in [entry.name for entry in raised.traceback]
