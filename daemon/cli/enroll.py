"""`facend enroll`: people from a folder of pictures, known at every camera from then on."""

import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import click

from daemon.cli.store import Asked, as_json, store_options, with_store
from daemon.errors import StartError
from daemon.models import load_models
from daemon.runtime import data_folder
from daemon.runtime.terminal import steering, visible
from pipeline.extractor import Extractor
from store import Context, Users
from store.identity.enrolment import Candidate, Enrolment, EnrolmentSettings, Outcome, candidates
from store.mongod.process_lock import OwnerLock

RESULTS = ("taken", "known", "refused")


@click.command()
@store_options()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--gallery", required=True, help="The gallery for these people, made if there is none.")
@click.option(
    "--min-score",
    type=click.FloatRange(max=0),
    default=-3.0,
    show_default=True,
    help="Poorer pictures are refused.",
)
def enroll(asked: Asked, folder: Path, gallery: str, min_score: float) -> None:
    """Enrol the faces in DIR's pictures; a sub-folder is a person of that name.

    Enrolled people are known at every camera. Enrolling a folder again adds only what is new in it.
    """
    try:
        pictures = candidates(folder)
    except OSError as error:
        raise StartError(f"{folder}: cannot be read ({error.strerror})") from error
    if not pictures:
        raise StartError(f"{folder}: there are no pictures in it")
    outcomes = _enrolled(asked, pictures, gallery, min_score)
    report = _report(outcomes, gallery)
    click.echo(as_json(report) if asked.as_json else _text(outcomes, gallery))
    if all(outcome.result == "refused" for outcome in outcomes):
        raise StartError("none of the pictures could be enrolled")


def _enrolled(asked: Asked, pictures: list[Candidate], gallery: str, min_score: float) -> list[Outcome]:
    settings = asked.settings
    data_folder.prepare(settings.data_dir)
    lock = OwnerLock(settings.data_dir / "enroll.lock")
    if not lock.acquire():  # two at once would make two persons of one name
        raise StartError("another `facend enroll` is at work on this data folder; wait for its end")
    try:
        models = load_models(settings)
        threshold = settings.persons.threshold
        how = EnrolmentSettings(
            gallery=gallery,
            pack=models.pack.name,
            threshold=models.pack.thresholds.named(threshold) if isinstance(threshold, str) else threshold,
            min_score=min_score,
        )

        async def work(ctx: Context, user: Users.Model) -> list[Outcome]:
            outcomes = []
            with _progress(len(pictures)) as bar:
                async for outcome in Enrolment(ctx, user, how).run(pictures):
                    outcomes.append(outcome)
                    if bar is not None:
                        bar.update(1, outcome)
            return outcomes

        extractor = Extractor(models, settings.pipeline.max_pixels)
        return with_store(asked, work, extractor, models.pack.facen_size, pack=models.pack.name)
    finally:
        lock.release()


def _progress(number: int) -> "click._termui_impl.ProgressBar[Outcome] | nullcontext[None]":
    """A bar on a terminal, on stderr: stdout is for the report."""
    if not sys.stderr.isatty():
        return nullcontext()
    return click.progressbar(
        length=number,
        label="enrolling",
        file=steering(sys.stderr),
        item_show_func=lambda outcome: visible(outcome.label, one_line=True) if outcome else None,
    )


def _report(outcomes: list[Outcome], gallery: str) -> dict[str, object]:
    numbers = Counter[str](outcome.result for outcome in outcomes)
    return {
        "gallery": gallery,
        **{result: numbers[result] for result in RESULTS},
        "persons": len({outcome.person_id for outcome in outcomes if outcome.person_id is not None}),
        "pictures": [asdict(outcome) for outcome in outcomes],
    }


def _line(outcome: Outcome) -> str:
    return visible(f"{outcome.label}: {outcome.reason}", one_line=True)


def _text(outcomes: list[Outcome], gallery: str) -> str:
    lines = [_line(outcome) for outcome in outcomes if outcome.result == "refused"]
    if lines:
        lines = ["refused", *(f"  {line}" for line in lines)]
    doubts = [outcome for outcome in outcomes if outcome.result == "taken" and outcome.reason]
    if doubts:
        lines += ["taken, but look at", *(f"  {_line(doubt)}" for doubt in doubts)]
    report = _report(outcomes, gallery)
    lines.append(
        f"gallery {gallery}: {report['taken']} taken, {report['known']} known already, "
        f"{report['refused']} refused; {report['persons']} persons"
    )
    return "\n".join(lines)


COMMANDS = (enroll,)
