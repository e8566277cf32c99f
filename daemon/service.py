"""`facend run`: the service, as systemd starts it."""

import faulthandler
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from daemon.app import Application
from daemon.config import file as settings_file
from daemon.config.file_watch import FileWatch
from daemon.config.settings import Settings
from daemon.http.connections import raise_descriptor_limit
from daemon.models import load_models
from daemon.runtime import data_folder, logs
from daemon.runtime import loop as event_loop
from daemon.runtime.disk_space import require_possible_reserve
from daemon.runtime.signals import STDERR
from daemon.runtime.systemd import Systemd
from daemon.runtime.visit_log import VisitLog
from pipeline.models.engine import Models

SWITCH_SECONDS = 0.001
"""How long a thread that computes may keep the interpreter from the event loop. Python's own 5 ms, once for
each busy thread in front, add up to a loop that is late; see docs/endurance.md."""


def run(settings_path: Path | None) -> None:
    """Read the cameras and store who visits, until a signal comes."""
    # A crash in a library tells the log where it was, until there is a file for that
    # (`daemon.runtime.crashes`).
    faulthandler.enable(file=STDERR)
    path = settings_path or settings_file.find()
    settings = settings_file.load(path, service=True)
    require_possible_reserve(settings.disk_folders, path)
    logs.configure(settings.log_format, settings.log_level)
    with ready(settings) as models:
        application = Application(
            settings,
            models,
            Systemd(),
            VisitLog(settings),
            reread=lambda: settings_file.load(path, service=True),
            watch=FileWatch(path),
        )
        event_loop.run(application.run())


@contextmanager
def ready(settings: Settings) -> Iterator[Models]:
    """The models, the data folder for this process alone, and an interpreter that threads share fairly.

    Before the event loop takes the signals: models may have to be downloaded, and a signal breaks that off.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    raise_descriptor_limit()
    # OpenCV would spread each small step over all cores, which takes a tenth more of their time, and wait for
    # those that decode.
    cv2.setNumThreads(1)
    data_folder.prepare(settings.data_dir)
    with data_folder.held(settings.data_dir):
        models = load_models(settings)
        # What is there by now stays. To look through it again and again for what nobody needs any more took
        # 75 ms each time, in which every thread and the loop stood still.
        gc.collect()
        gc.freeze()
        yield models
