"""`facend enroll`: adds people from a folder of pictures."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.output import progress, to_json
from daemon.cli.store import with_store
from daemon.config.rules import threshold
from daemon.errors import StartError
from daemon.models import load_models
from daemon.runtime import data_folder
from daemon.runtime.terminal import count
from pipeline.base.control_characters import visible
from pipeline.base.file_lock import FileLock
from pipeline.extractor import FaceExtractor
from store import Context, Users
from store.identity.enrolment import (
    Enrolment,
    EnrolmentPicture,
    EnrolmentResult,
    EnrolmentSettings,
    pictures_in,
)

RESULTS = ("taken", "known", "refused")


@click.command()
@store_options()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--gallery", required=True, metavar="NAME", help="Gallery for these people; created if it does not exist."
)
@click.option(
    "--min-score",
    type=click.FloatRange(max=0),
    default=-3.0,
    show_default=True,
    help="Lowest quality score; pictures below it are refused.",
)
def enroll(command: CommandContext, folder: Path, gallery: str, min_score: float) -> None:
    """Enrol people from a folder of pictures.

    A sub-folder of DIR is a person of that name. Every camera recognises enrolled people. Enrolling a folder
    again adds its new pictures only.
    """
    try:
        pictures = pictures_in(folder)
    except OSError as error:
        raise StartError(f"{folder}: cannot be read ({error.strerror})") from error
    if not pictures:
        raise StartError(f"{folder}: it contains no pictures")
    outcomes = _enrolled(command, pictures, gallery, min_score)
    report = _report(outcomes, gallery)
    click.echo(to_json(report) if command.as_json else _text(outcomes, gallery))
    if all(outcome.result == "refused" for outcome in outcomes):
        raise StartError("none of the pictures could be enrolled")


def _enrolled(
    command: CommandContext, pictures: list[EnrolmentPicture], gallery: str, min_score: float
) -> list[EnrolmentResult]:
    settings = command.settings
    data_folder.prepare(settings.data_dir)
    lock = FileLock(settings.data_dir / "enroll.lock")
    if not lock.acquire():  # two at once would create two persons of one name
        raise StartError("another `facend enroll` is running on this data folder; wait until it ends")
    try:
        models = load_models(settings)
        how = EnrolmentSettings(
            gallery=gallery,
            pack=models.pack.name,
            threshold=threshold(settings.persons, models.pack),
            min_score=min_score,
        )

        async def work(ctx: Context, user: Users.Model) -> list[EnrolmentResult]:
            outcomes = []
            with progress(len(pictures), "enrolling") as step:
                async for outcome in Enrolment(ctx, user, how).run(pictures):
                    outcomes.append(outcome)
                    step(1, outcome.label)
            return outcomes

        extractor = FaceExtractor(models, settings.pipeline.max_pixels)
        return with_store(command, work, extractor, models.pack.facen_size, pack=models.pack.name)
    finally:
        lock.release()


def _report(outcomes: list[EnrolmentResult], gallery: str) -> dict[str, object]:
    numbers = Counter[str](outcome.result for outcome in outcomes)
    return {
        "gallery": gallery,
        **{result: numbers[result] for result in RESULTS},
        "persons": len({outcome.person_id for outcome in outcomes if outcome.person_id is not None}),
        "pictures": [asdict(outcome) for outcome in outcomes],
    }


def _line(outcome: EnrolmentResult) -> str:
    return visible(f"{outcome.label}: {outcome.reason}", one_line=True)


def _text(outcomes: list[EnrolmentResult], gallery: str) -> str:
    lines = [_line(outcome) for outcome in outcomes if outcome.result == "refused"]
    if lines:
        lines = ["refused", *(f"  {line}" for line in lines)]
    questionable = [outcome for outcome in outcomes if outcome.result == "taken" and outcome.reason]
    if questionable:
        lines += ["enrolled, but please check", *(f"  {_line(outcome)}" for outcome in questionable)]
    report = _report(outcomes, gallery)
    lines.append(
        f"gallery {gallery}: {report['taken']} enrolled, {report['known']} already known, "
        f"{report['refused']} refused; {count(int(str(report['persons'])), 'person')}"
    )
    return "\n".join(lines)


COMMANDS = (enroll,)
