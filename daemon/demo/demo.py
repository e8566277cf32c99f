"""`facend demo`: the whole service on a built-in clip, with a line for each visit."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import click

from cameras.errors import ClipError
from daemon.app import Application
from daemon.config.settings import HttpSettings, Settings
from daemon.config.validation import validate
from daemon.demo.clip import DemoClipError, make_demo_clip
from daemon.errors import StartError
from daemon.events.bus import EventBus
from daemon.events.types import SightingStored
from daemon.runtime import data_folder, event_loop, logs
from daemon.runtime.systemd import Systemd
from daemon.runtime.visit_log import shown_path, visit_line
from daemon.service import ready
from pipeline.models.loader import Models

CAMERA_ID = "demo"


def run(data_dir: Path, port: int | None) -> None:
    """Generate the clip if it does not exist, and run the service on it until Ctrl-C."""
    logs.configure("auto", "warning")
    data_folder.prepare(data_dir)
    clip = data_dir / "demo.mp4"
    if not clip.exists():
        _make(clip)
    settings = _settings(data_dir, clip, port)
    _echo("Starting: loading two face models, then a private MongoDB and the camera ...")
    with ready(settings) as models:
        event_loop.run(_show(settings, models))
    folder = shown_path(settings.data_dir.as_uri())
    _echo(f"Stopped. The data stays in {folder}; the next run recognises the same people.")


async def _show(settings: Settings, models: Models) -> None:
    def show(event: SightingStored) -> None:
        _echo(visit_line(event.stored, settings.persons.zone))

    def subscribe(events: EventBus) -> None:
        events.handle("demo", [SightingStored], show)

    application = Application(settings, models, Systemd(), subscribe)
    introduction = asyncio.create_task(_introduce(application, settings))
    try:
        await application.run()
    finally:
        introduction.cancel()


def _make(clip: Path) -> None:
    _echo(f"Generating the demo clip {clip}: six people, each of whom walks past twice ...")
    try:
        make_demo_clip(clip, _progress())
    except (DemoClipError, ClipError) as error:
        raise StartError(f"demo: {error}") from error


def _progress() -> Callable[[int, int], None] | None:
    """Shows a percentage if stdout is a terminal."""
    if not sys.stdout.isatty():
        return None

    def show(done: int, total: int) -> None:
        click.echo(f"\r{100 * done // total:3d} %", nl=done >= total)

    return show


def _settings(data_dir: Path, clip: Path, port: int | None) -> Settings:
    raw = {
        "data_dir": str(data_dir),
        "http": {"port": HttpSettings().port if port is None else port},
        "cameras": [{"id": CAMERA_ID, "url": clip.absolute().as_uri(), "loop": True}],
    }
    return validate(raw, source="demo")


async def _introduce(application: Application, settings: Settings) -> None:
    await application.started.wait()
    address = application.address
    _echo("")
    _echo(f"  metrics   {address}/metrics")
    _echo(f"  health    {address}/healthz  {address}/readyz  {address}/status")
    _echo(f"  pictures  {shown_path((settings.data_dir / 'uploads').as_uri())}")
    _echo("")
    _echo("When a visit ends, a line shows time, camera, person, the reason, and the picture.")
    _echo("The clip repeats every 40 seconds: persons are new once, then matched. Ctrl-C stops the demo.")
    _echo("")


def _echo(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()
