"""`facend calibrate`: measures thresholds on the user's pictures."""

from pathlib import Path

import click

from daemon.cli.context import settings_or_defaults
from daemon.cli.options import folder_argument, json_option, settings_option
from daemon.cli.output import echo_table, progress, to_json
from daemon.evaluation import calibration_report, curves
from daemon.evaluation.calibration import (
    Comparisons,
    Suggestion,
    check_labels,
    compare,
    oddities,
    suggest,
    table,
)
from daemon.evaluation.discard import DiscardCurve, discard_curve, starting_threshold
from daemon.evaluation.faces import labelled_faces, missing_face_lines, thresholds_of
from daemon.evaluation.inputs import InputError, labelled_pictures
from daemon.evaluation.rates import Point, Roc, roc
from daemon.model_loading import load_models
from daemon.runtime.terminal import count

FALSE_ACCEPT_RATES = (1e-3, 1e-4)
BARS, BAR_CHARACTERS = 25, 50
"""Number of bars of the histogram on a terminal, and length of the longest bar."""


@click.command()
@settings_option
@json_option
@click.argument("folder", metavar="DIR", type=folder_argument)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("calibration.toml"),
    show_default=True,
    help="File for the suggested threshold; diagrams are written beside it as PNG.",
)
@click.option("--discard", is_flag=True, help="Also measure the quality score: error versus discard.")
def calibrate(settings_path: Path | None, as_json: bool, folder: Path, out: Path, discard: bool) -> None:
    """Measure thresholds on your own labelled pictures.

    DIR contains a sub-folder for each person, or files NAME_VARIANT.jpg. Every picture is compared with
    every other one, by its most central face.
    """
    settings = settings_or_defaults(settings_path)
    pictures = labelled_pictures(folder)
    check_labels(pictures)
    models = load_models(settings)
    with progress(len(pictures), "pictures") as step:
        faces = labelled_faces(pictures, models, settings, step)
    comparisons = compare(faces)
    named = thresholds_of(models, settings)
    curve = roc(comparisons.genuine, comparisons.impostor)
    suggestions = [suggest(comparisons, far) for far in FALSE_ACCEPT_RATES]
    discarding = _discard_curves(comparisons, named) if discard else []
    medium = models.pack.thresholds.medium
    _write(out, calibration_report.suggestion_text(suggestions, comparisons, models.pack.name, medium))
    drawn = _draw(out, comparisons, curve, named, discarding)
    if as_json:
        report = calibration_report.as_dict(comparisons, curve, named, suggestions, discarding)
        written = [str(path) for path in (out, *drawn)]
        click.echo(to_json({**report, "without_face": missing_face_lines(faces), "written": written}))
        return
    _echo(comparisons, curve, named, suggestions, discarding)
    for line in missing_face_lines(faces):
        click.echo(f"not used: {line}")
    click.echo(f"written: {', '.join(map(str, (out, *drawn)))}")


def _discard_curves(comparisons: Comparisons, named: dict[str, float]) -> list[DiscardCurve]:
    quality, genuine = comparisons.genuine_quality, comparisons.genuine
    chosen = {**named, "FNMR 5 %": starting_threshold(genuine)}
    return [discard_curve(name, genuine, quality, threshold) for name, threshold in chosen.items()]


def _draw(
    out: Path, comparisons: Comparisons, curve: Roc, named: dict[str, float], discarding: list[DiscardCurve]
) -> list[Path]:
    genuines, impostors = len(comparisons.genuine), len(comparisons.impostor)
    marks = list(named.items())
    drawn = {
        "histogram": curves.histogram_picture(comparisons.genuine, comparisons.impostor, marks),
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


def _echo(
    comparisons: Comparisons,
    curve: Roc,
    named: dict[str, float],
    suggestions: list[Suggestion],
    discarding: list[DiscardCurve],
) -> None:
    """Print the whole calibration as text."""
    _echo_confidences(comparisons, curve)
    _echo_rates("this pack's thresholds", calibration_report.pack_points(comparisons, named), list(named))
    _echo_suggestions(suggestions)
    _echo_oddities(comparisons)
    for discarded in discarding:
        _echo_discard(discarded)


def _echo_confidences(comparisons: Comparisons, curve: Roc) -> None:
    click.echo(
        f"{len(comparisons.faces)} pictures of {len({item.person for item in comparisons.faces})} people: "
        f"{count(len(comparisons.genuine), 'genuine pair')}, "
        f"{count(len(comparisons.impostor), 'impostor pair')}; "
        f"EER {100 * curve.eer:.2f} %, AUC {curve.auc:.5f}\n"
    )
    edges = [number / BARS for number in range(BARS + 1)]
    kinds = [
        [
            ((kind >= low) & (kind < high)).mean()
            for low, high in zip(edges, [*edges[1:-1], 2.0], strict=False)
        ]
        for kind in (comparisons.impostor, comparisons.genuine)
    ]
    most = max(max(kind) for kind in kinds)
    click.echo("confidence  impostor pairs (x), genuine pairs (o)")
    for low, *shares in zip(edges, *kinds, strict=False):
        bars = [
            mark * round(BAR_CHARACTERS * share / most) or "."
            for mark, share in zip("xo", shares, strict=True)
            if share
        ]
        if bars:
            click.echo(f"{low:10.2f}  {' '.join(bars)}")
    click.echo("")
    _echo_rates("thresholds", table(comparisons), [""] * len(table(comparisons)))


def _echo_rates(title: str, points: list[Point], names: list[str]) -> None:
    head = (title, "threshold", "FAR", "bound (95 %)", "false accepts", "FRR", "false rejects")
    rows: list[tuple[object, ...]] = [head]
    rows += [
        (
            name,
            f"{point.threshold:.4f}",
            f"{point.far:.2e}",
            f"{point.far_bound:.2e}",
            point.false_accepts,
            f"{point.frr:.4f}",
            point.false_rejects,
        )
        for name, point in zip(names, points, strict=True)
    ]
    echo_table(rows)
    click.echo("")


def _echo_suggestions(suggestions: list[Suggestion]) -> None:
    _echo_rates(
        "suggestions",
        [suggestion.point for suggestion in suggestions],
        [f"FAR {suggestion.wanted_far:g}" for suggestion in suggestions],
    )
    for suggestion in suggestions:
        if not suggestion.carried:
            click.echo(f"FAR {suggestion.wanted_far:g}: {calibration_report.too_few(suggestion)}")
    click.echo("Pairs share people and pictures and are not independent: the true bounds are wider.\n")


def _echo_oddities(comparisons: Comparisons) -> None:
    alike, unlike = oddities(comparisons)
    for title, pairs in (
        ("most similar pictures of two people (is a label wrong?)", alike),
        ("least similar pictures of one person", unlike),
    ):
        click.echo(title)
        for oddity in pairs:
            click.echo(f"  {oddity.confidence:.4f}  {oddity.one.face.path}  {oddity.other.face.path}")
    click.echo("")


def _echo_discard(curve: DiscardCurve) -> None:
    click.echo(f"error versus discard, threshold {curve.name} ({curve.threshold:.4f})")
    shares = "  ".join(f"{100 * share:5.0f} %" for share in curve.discarded)
    rates = "  ".join(f"{rate:7.4f}" for rate in curve.fnmr)
    click.echo(f"  discarded  {shares}\n  FNMR       {rates}")
    click.echo(f"  {f'rises by up to {curve.largest_rise:.4f}' if curve.largest_rise else 'never rises'}\n")


COMMANDS = (calibrate,)
