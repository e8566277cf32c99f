"""The faces in folders of people."""

from collections.abc import Sequence

from daemon.config.settings import Settings
from daemon.evaluation.faces import extracting, look_at
from daemon.evaluation.identify import PersonLook
from daemon.evaluation.labelled import Labelled
from daemon.evaluation.progress import progress
from pipeline.extractor import Extractor
from pipeline.models.engine import Models


def look_at_people(
    pictures: Sequence[Labelled], models: Models, settings: Settings, label: str
) -> list[PersonLook]:
    """What is found in each picture, with progress."""
    max_pixels = settings.pipeline.max_pixels
    with progress(len(pictures), label) as step:
        look = extracting(Extractor(models, max_pixels), max_pixels)
        looks = look_at((picture.path for picture in pictures), look, step)
    return [PersonLook(picture.person, looks[picture.path]) for picture in pictures]


def thresholds_of(models: Models, settings: Settings) -> dict[str, float]:
    """The pack's thresholds by name, the strictest first, and that of the settings where it is a number."""
    limits = models.pack.thresholds
    named = {name: limits.named(name) for name in ("strict", "medium", "low")}
    if isinstance(settings.persons.threshold, float):
        named["settings"] = settings.persons.threshold
    return named


def without_face(people: Sequence[PersonLook]) -> list[str]:
    """A line for each picture without a usable face."""
    return [
        item.look.trouble
        if str(item.look.path) in item.look.trouble
        else f"{item.look.path}: {item.look.trouble}"
        for item in people
        if item.look.facen is None
    ]
