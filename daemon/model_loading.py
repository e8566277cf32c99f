"""Resolves, fetches and loads the model pack of the settings."""

import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.runtime import data_folder
from pipeline.errors import ModelError
from pipeline.models import loader
from pipeline.models.pack_files import Pack, fetch, is_present, resolve

log = structlog.get_logger(__name__)

MEBIBYTE = 1024 * 1024


def models_folder(settings: Settings) -> Path:
    return settings.models.folder or settings.data_dir / "models"


def pack_in_settings(settings: Settings) -> Pack | None:
    """The pack named in the settings, even if it has not been fetched; None for an unknown pack."""
    try:
        return resolve(settings.models.pack, models_folder(settings))
    except ModelError:
        return None


def load_models(settings: Settings) -> loader.Models:
    """Load the models of the pack in the settings, and fetch missing files.

    Raises:
        StartError: the pack is unknown, or a file cannot be fetched or loaded.
    """
    folder = models_folder(settings)
    try:
        pack = resolve(settings.models.pack, folder)
        if pack.research_only:
            log.warning("this model pack is licensed for research only", pack=pack.name, licence=pack.licence)
        fetch_with_progress(pack, folder, settings.models.sources)
        return loader.load(
            pack,
            folder,
            settings.models.threads,
            genderage=settings.models.genderage,
            emotions=settings.models.emotions,
        )
    except ModelError as error:
        raise StartError(f"models: {error}") from error


def fetch_with_progress(pack: Pack, folder: Path, sources: tuple[Path, ...]) -> None:
    """Fetch missing files, with a progress bar on a terminal."""
    if not is_present(pack, folder):
        data_folder.require_own(folder)
        data_folder.require_own(folder.parent)
        log.info("fetching models", pack=pack.name, folder=str(folder))
    fetch(pack, folder, _bar() if sys.stderr.isatty() else None, folders=sources)


def _bar() -> Callable[[str, int, int], None]:
    def show(name: str, received: int, expected: int) -> None:
        share = f"{100 * received // expected:3d} %" if expected else f"{received / MEBIBYTE:.0f} MiB"
        end = "\n" if expected and received >= expected else ""
        print(f"\r{name}  {share}", end=end, file=sys.stderr, flush=True)  # noqa: T201 - a progress bar

    return show
