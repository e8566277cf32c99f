"""`facend enroll`: adds people from a folder of pictures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.output import progress, to_json
from daemon.cli.store import with_store
from daemon.config.person_rules import threshold
from daemon.errors import StartError
from daemon.model_loading import load_models
from daemon.runtime import data_folder
from daemon.runtime.terminal import count
from pipeline.base.control_characters import visible
from pipeline.base.file_lock import FileLock
from pipeline.extractor import FaceExtractor
from store import Context, Users
from store.identity.change_log import Change
from store.identity.enrolment import Enrolment, EnrolmentResult
from store.identity.enrolment_examination import EnrolmentSettings
from store.identity.enrolment_folder import EnrolmentPicture, FolderContents, Names, pictures_in

RESULTS = ("taken", "known", "doubtful", "refused")
SHOWN_PERSONS = 20
"""Maximum number of names that are printed before the enrolment."""


@click.command()
@store_options()
@click.argument("place", metavar="DIR|PICTURE", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--gallery", required=True, metavar="NAME", help="Gallery for these people; created if it does not exist."
)
@click.option(
    "--min-score",
    type=click.FloatRange(max=0),
    default=-3.0,
    show_default=True,
    help="Minimum quality score; poorer pictures are refused.",
)
@click.option("--name", metavar="NAME", default=None, help="Name of the person in all pictures.")
@click.option(
    "--names",
    type=click.Choice(["auto", "folder", "file", "none"]),
    default="auto",
    show_default=True,
    help="Source of the names of pictures in no sub-folder.",
)
@click.option(
    "--confirm",
    "confirmed",
    is_flag=True,
    help="Also enrol pictures that are unlike the others of their person.",
)
@click.option(
    "--move", is_flag=True, help="Move pictures that are enrolled as another person to the one given here."
)
def enroll(
    command: CommandContext,
    place: Path,
    gallery: str,
    min_score: float,
    name: str | None,
    names: Names,
    confirmed: bool,
    move: bool,
) -> None:
    """Enrol people from a folder of pictures.

    Sub-folders of DIR are named after the person in their pictures. Pictures in no sub-folder are named by
    their file (NAME.jpg, NAME_1.jpg), or otherwise by their folder. The names are printed before enrolment
    begins. Every camera recognises enrolled people. Enrolling a folder again only adds its new pictures.
    """
    try:
        contents = pictures_in(place, names)
    except OSError as error:
        raise StartError(f"{place}: cannot be read ({error.strerror})") from error
    if name is not None:
        contents = contents.with_name(name)
    if not contents.pictures:
        raise StartError(f"{place}: it contains no pictures{_left_out(contents, '; left out: ')}")
    click.echo(visible(_announcement(contents), one_line=True), err=True)
    outcomes, merges = _enrol(command, contents.pictures, gallery, min_score, confirmed=confirmed, move=move)
    report = {
        **_report(outcomes, gallery),
        "left_out": dict(contents.ignored),
        "joined": [asdict(change) for change in merges],
    }
    click.echo(to_json(report) if command.as_json else _text(outcomes, merges, gallery, contents))
    if all(outcome.result in ("refused", "doubtful") for outcome in outcomes):
        raise StartError("none of the pictures could be enrolled")


def _announcement(contents: FolderContents) -> str:
    """The names of the people whose pictures will be enrolled."""
    persons = contents.persons
    shown = [f"{name} ({count(number, 'picture')})" for name, number in list(persons.items())[:SHOWN_PERSONS]]
    if more := len(persons) - len(shown):
        shown.append(f"{more} more")
    if contents.nameless:
        nameless = count(contents.nameless, "picture")
        shown.append(f"{nameless} without a name: assigned to the persons they resemble, or to new ones")
    return f"enrolling {', '.join(shown)}{_left_out(contents, '; left out: ')}"


def _left_out(contents: FolderContents, introduction: str) -> str:
    named = [f"{name} ({count(number, 'file')})" for name, number in contents.ignored.items()]
    return f"{introduction}{', '.join(named)}" if named else ""


def _enrol(
    command: CommandContext,
    pictures: Sequence[EnrolmentPicture],
    gallery: str,
    min_score: float,
    *,
    confirmed: bool,
    move: bool,
) -> tuple[list[EnrolmentResult], list[Change]]:
    """The results, and the merges of nameless persons into the enrolled ones."""
    settings = command.settings
    data_folder.prepare(settings.data_dir)
    lock = FileLock(settings.data_dir / "enroll.lock")
    try:
        free = lock.acquire()
    except OSError as error:
        raise data_folder.unusable_lock(settings.data_dir / "enroll.lock", error) from error
    if not free:  # two runs at once would create two persons with the same name
        raise StartError("another `facend enroll` is running on this data folder; wait until it ends")
    try:
        models = load_models(settings)
        enrolment_settings = EnrolmentSettings(
            gallery=gallery,
            pack=models.pack.name,
            threshold=threshold(settings.persons, models.pack),
            certain=models.pack.thresholds.strict,
            min_score=min_score,
            alike=models.pack.thresholds.low,
            confirmed=confirmed,
            move=move,
        )

        async def work(ctx: Context, user: Users.Model) -> tuple[list[EnrolmentResult], list[Change]]:
            outcomes, enrolment = [], Enrolment(ctx, user, enrolment_settings)
            with progress(len(pictures), "enrolling") as step:
                async for outcome in enrolment.run(pictures):
                    outcomes.append(outcome)
                    step(1, outcome.label)
            return outcomes, enrolment.merges

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


def _text(
    outcomes: list[EnrolmentResult], merges: list[Change], gallery: str, contents: FolderContents
) -> str:
    sections = {
        "refused": [one for one in outcomes if one.result == "refused"],
        "not enrolled, in doubt (--confirm enrols them)": [
            one for one in outcomes if one.result == "doubtful"
        ],
        "enrolled, but please check": [one for one in outcomes if one.result == "taken" and one.reason],
        "changed": [one for one in outcomes if one.result == "known" and one.reason],
    }
    lines = []
    for title, group in sections.items():
        if group:
            lines += [title, *(f"  {_line(outcome)}" for outcome in group)]
    if merges:
        lines += ["merged the nameless persons of earlier visits", *map(_merge_line, merges)]
    report = _report(outcomes, gallery)
    numbers = f"{report['taken']} enrolled, {report['known']} already known, {report['doubtful']} in doubt"
    lines.append(
        f"gallery {gallery}: {numbers}, {report['refused']} refused; "
        f"{count(int(str(report['persons'])), 'person')}{_left_out(contents, '; left out: ')}"
    )
    return "\n".join(lines)


def _merge_line(change: Change) -> str:
    return f"  {change.other} into {change.person}   # undo: facend persons undo {change.number}"


COMMANDS = (enroll,)
