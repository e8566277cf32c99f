"""A calibration as text, as JSON, and as the lines to take over into settings.toml."""

import click

from daemon.cli.store import echo_table
from daemon.evaluation.calibration import Comparisons, Oddity, Suggestion, oddities, table
from daemon.evaluation.discard import DiscardCurve
from daemon.evaluation.rates import Point, Roc, at_threshold

BARS, FULL = 25, 50
"""Bars of the histogram on a terminal, and characters of the longest one."""


def suggestion_text(suggestions: list[Suggestion], compared: Comparisons, pack: str, medium: float) -> str:
    """The lines to take over. `suggestions` are ordered by falling rate, and `medium` is the pack's own.

    Where the pictures cannot carry the lowest rate, what they do carry counts only where it is stricter than
    the pack's: a visitor is compared with everybody who ever came, so a lax threshold is worse than none.
    """
    lines = [
        f"# Measured with the model pack {pack} on {len(compared.looks)} pictures:",
        f"# {len(compared.genuine)} pairs of one person, {len(compared.impostor)} of two.",
    ]
    for suggestion in suggestions:
        point = suggestion.point
        lines.append(
            f"# FAR {suggestion.wanted_far:g}: threshold {suggestion.threshold:.4f}, {point.false_accepts} "
            f"false accepts (FAR below {point.far_bound:.2g}, 95 % sure), FRR {point.frr:.4f}"
        )
        if not suggestion.carried:
            lines.append(f"#   {too_few(suggestion)}")
    lines.append("[persons]")
    carried = [suggestion for suggestion in suggestions if suggestion.carried]
    strictest = carried[-1].threshold if carried else 0.0
    if suggestions[-1].carried or strictest > medium:
        lines.append(f"threshold = {strictest:.4f}")
    else:
        lines += [
            f"# Too few pictures for FAR {suggestions[-1].wanted_far:g}; until then the pack's own.",
            f'threshold = "medium"  # {medium:.2f}',
        ]
    return "\n".join(lines) + "\n"


def too_few(suggestion: Suggestion) -> str:
    needed = round(3 / suggestion.wanted_far)
    return (
        f"NOT CARRIED: {suggestion.point.impostors} impostor pairs cannot show so low a rate, {needed} could"
    )


def pack_points(compared: Comparisons, named: dict[str, float]) -> list[Point]:
    return [at_threshold(compared.genuine, compared.impostor, threshold) for threshold in named.values()]


def echo(
    compared: Comparisons,
    curve: Roc,
    named: dict[str, float],
    suggestions: list[Suggestion],
    discarding: list[DiscardCurve],
) -> None:
    """Everything, for a person to read."""
    _echo_confidences(compared, curve)
    _echo_rates("this pack's thresholds", pack_points(compared, named), list(named))
    _echo_suggestions(suggestions)
    _echo_oddities(compared)
    for discarded in discarding:
        _echo_discard(discarded)


def as_dict(
    compared: Comparisons,
    curve: Roc,
    named: dict[str, float],
    suggestions: list[Suggestion],
    discarding: list[DiscardCurve],
) -> dict[str, object]:
    """Everything, for JSON."""
    alike, unlike = oddities(compared)
    return {
        "pictures": len(compared.looks),
        "people": len({item.person for item in compared.looks}),
        "genuine_pairs": len(compared.genuine),
        "impostor_pairs": len(compared.impostor),
        "auc": curve.auc,
        "eer": curve.eer,
        "pack": dict(zip(named, map(_point, pack_points(compared, named)), strict=True)),
        "table": [_point(point) for point in table(compared)],
        "suggestions": [
            {
                "wanted_far": suggestion.wanted_far,
                "carried": suggestion.carried,
                **_point(suggestion.point),
                "threshold": suggestion.threshold,
            }
            for suggestion in suggestions
        ],
        "most_alike": [_oddity(oddity) for oddity in alike],
        "least_alike": [_oddity(oddity) for oddity in unlike],
        "discard": [
            {
                "name": item.name,
                "threshold": item.threshold,
                "discarded": item.discarded,
                "fnmr": item.fnmr,
                "largest_rise": item.largest_rise,
            }
            for item in discarding
        ],
    }


def _echo_confidences(compared: Comparisons, curve: Roc) -> None:
    click.echo(
        f"{len(compared.looks)} pictures of {len({item.person for item in compared.looks})} people: "
        f"{len(compared.genuine)} genuine pairs, {len(compared.impostor)} impostor pairs; "
        f"EER {100 * curve.eer:.2f} %, AUC {curve.auc:.5f}\n"
    )
    edges = [number / BARS for number in range(BARS + 1)]
    kinds = [
        [
            ((kind >= low) & (kind < high)).mean()
            for low, high in zip(edges, [*edges[1:-1], 2.0], strict=False)
        ]
        for kind in (compared.impostor, compared.genuine)
    ]
    most = max(max(kind) for kind in kinds)
    click.echo("confidence  two people (x), one person (o)")
    for low, *shares in zip(edges, *kinds, strict=False):
        bars = [
            mark * round(FULL * share / most) or "."
            for mark, share in zip("xo", shares, strict=True)
            if share
        ]
        if bars:
            click.echo(f"{low:10.2f}  {' '.join(bars)}")
    click.echo("")
    _echo_rates("thresholds", table(compared), [""] * len(table(compared)))


def _echo_rates(title: str, points: list[Point], names: list[str]) -> None:
    head = (title, "threshold", "FAR", "below (95 % sure)", "false accepts", "FRR", "false rejects")
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
            click.echo(f"FAR {suggestion.wanted_far:g}: {too_few(suggestion)}")
    click.echo(
        "Pairs share people and pictures, so there is less in them than in as many independent ones: "
        "the true bounds are wider.\n"
    )


def _echo_oddities(compared: Comparisons) -> None:
    alike, unlike = oddities(compared)
    for title, pairs in (
        ("the most alike pictures of two people (is a label wrong?)", alike),
        ("the least alike pictures of one person", unlike),
    ):
        click.echo(title)
        for oddity in pairs:
            click.echo(f"  {oddity.confidence:.4f}  {oddity.one.look.path}  {oddity.other.look.path}")
    click.echo("")


def _echo_discard(curve: DiscardCurve) -> None:
    click.echo(f"error versus discard, threshold {curve.name} ({curve.threshold:.4f})")
    shares = "  ".join(f"{100 * share:5.0f} %" for share in curve.discarded)
    rates = "  ".join(f"{rate:7.4f}" for rate in curve.fnmr)
    click.echo(f"  discarded  {shares}\n  FNMR       {rates}")
    click.echo(f"  {f'rises by up to {curve.largest_rise:.4f}' if curve.largest_rise else 'never rises'}\n")


def _point(point: Point) -> dict[str, float]:
    return {
        "threshold": point.threshold,
        "far": point.far,
        "far_bound": point.far_bound,
        "false_accepts": point.false_accepts,
        "frr": point.frr,
        "false_rejects": point.false_rejects,
    }


def _oddity(oddity: Oddity) -> dict[str, object]:
    return {
        "confidence": oddity.confidence,
        "pictures": [str(oddity.one.look.path), str(oddity.other.look.path)],
    }
