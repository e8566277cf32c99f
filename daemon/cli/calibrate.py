"""`facend calibrate`: thresholds measured on the user's own pictures."""

from pathlib import Path

import click

from daemon.cli.evaluate import chosen_settings, folder_argument
from daemon.cli.options import json_option, settings_option
from daemon.cli.store import as_json as to_json
from daemon.evaluation import calibration_report, curves
from daemon.evaluation.calibration import Comparisons, check_labels, compare, suggest
from daemon.evaluation.discard import DiscardCurve, discard_curve, starting_threshold
from daemon.evaluation.errors import InputError
from daemon.evaluation.labelled import labelled
from daemon.evaluation.people import look_at_people, thresholds_of, without_face
from daemon.evaluation.rates import Roc, roc
from daemon.models import load_models

FALSE_ACCEPT_RATES = (1e-3, 1e-4)


@click.command()
@settings_option
@json_option
@click.argument("folder", metavar="DIR", type=folder_argument)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("calibration.toml"),
    show_default=True,
    help="Where the suggested threshold goes; the diagrams lie beside it, as PNG.",
)
@click.option("--discard", is_flag=True, help="Also show whether the quality score is worth something.")
def calibrate(settings_path: Path | None, as_json: bool, folder: Path, out: Path, discard: bool) -> None:
    """Measure thresholds on the pictures in DIR: sub-folders by person, or files NAME_VARIANT.jpg.

    Every picture is compared with every other one. The most central face of each counts.
    """
    settings = chosen_settings(settings_path)
    pictures = labelled(folder)
    check_labels(pictures)
    models = load_models(settings)
    looks = look_at_people(pictures, models, settings, "pictures")
    compared = compare(looks)
    named = thresholds_of(models, settings)
    curve = roc(compared.genuine, compared.impostor)
    suggestions = [suggest(compared, far) for far in FALSE_ACCEPT_RATES]
    discarding = _discarding(compared, named) if discard else []
    medium = models.pack.thresholds.medium
    _write(out, calibration_report.suggestion_text(suggestions, compared, models.pack.name, medium))
    drawn = _draw(out, compared, curve, named, discarding)
    if as_json:
        report = calibration_report.as_dict(compared, curve, named, suggestions, discarding)
        written = [str(path) for path in (out, *drawn)]
        click.echo(to_json({**report, "without_face": without_face(looks), "written": written}))
        return
    calibration_report.echo(compared, curve, named, suggestions, discarding)
    for line in without_face(looks):
        click.echo(f"not used: {line}")
    click.echo(f"written: {', '.join(map(str, (out, *drawn)))}")


def _discarding(compared: Comparisons, named: dict[str, float]) -> list[DiscardCurve]:
    quality, genuine = compared.genuine_quality, compared.genuine
    chosen = {**named, "5 % at first": starting_threshold(genuine)}
    return [discard_curve(name, genuine, quality, threshold) for name, threshold in chosen.items()]


def _draw(
    out: Path, compared: Comparisons, curve: Roc, named: dict[str, float], discarding: list[DiscardCurve]
) -> list[Path]:
    genuines, impostors = len(compared.genuine), len(compared.impostor)
    marks = list(named.items())
    drawn = {
        "histogram": curves.histogram_picture(compared.genuine, compared.impostor, marks),
        "roc": curves.roc_picture(curve, impostors),
        "det": curves.det_picture(curve, impostors, genuines),
    }
    if discarding:
        drawn["discard"] = curves.discard_picture(discarding)
    paths = {name: out.with_name(f"{out.stem}-{name}.png") for name in drawn}
    for name, picture in drawn.items():
        curves.save(picture, paths[name])
    return list(paths.values())


def _write(out: Path, text: str) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error


COMMANDS = (calibrate,)
