"""`facend run`: the service that systemd starts."""

import faulthandler
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from daemon.app import Application
from daemon.config import settings_file
from daemon.config.file_watch import FileWatch
from daemon.config.settings import Settings
from daemon.http.connections import raise_descriptor_limit
from daemon.model_loading import load_models
from daemon.runtime import data_folder, event_loop, logs
from daemon.runtime.disk_space import require_possible_reserve
from daemon.runtime.signals import STDERR
from daemon.runtime.systemd import Systemd
from daemon.runtime.visit_log import VisitLog
from pipeline.models.loader import Models

SWITCH_SECONDS = 0.001
"""Switch interval of the interpreter. The default, 5 ms for each busy thread, delays the event loop; see
docs/endurance.md."""


def run(settings_path: Path | None) -> None:
    """Read the cameras and store visits until a signal."""
    # Crashes in libraries are written to the log until `daemon.runtime.crashes` has its file.
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
            VisitLog(settings.cameras).subscribe,
            reread=lambda: settings_file.load(path, service=True),
            watch=FileWatch(path),
        )
        event_loop.run(application.run())


@contextmanager
def ready(settings: Settings) -> Iterator[Models]:
    """Prepare the process, lock the data folder, and load the models.

    Called before the event loop handles signals, so that a signal can interrupt a download of models.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    raise_descriptor_limit()
    # With more threads, OpenCV's small operations take a tenth more processor time, and wait for cores that
    # are busy with decoding.
    cv2.setNumThreads(1)
    data_folder.prepare(settings.data_dir)
    with data_folder.held(settings.data_dir):
        models = load_models(settings)
        # The objects created so far live as long as the process. Each full garbage collection scanned them
        # for 75 ms, while all threads stopped.
        gc.collect()
        gc.freeze()
        yield models
