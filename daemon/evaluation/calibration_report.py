"""Formats a calibration as JSON, and as lines for settings.toml."""

from daemon.evaluation.calibration import Comparisons, Oddity, Suggestion, oddities, table
from daemon.evaluation.discard import DiscardCurve
from daemon.evaluation.rates import Point, Roc, at_threshold
from daemon.runtime.terminal import count


def suggestion_text(suggestions: list[Suggestion], comparisons: Comparisons, pack: str, medium: float) -> str:
    """Lines for settings.toml. `suggestions` are ordered by falling rate; `medium` is the pack's threshold.

    If there are too few pictures to demonstrate the lowest rate, a measured threshold is used only if it is
    stricter than the pack's: a visitor is compared with every known person, so a lax threshold does harm.
    """
    genuine, impostor = len(comparisons.genuine), len(comparisons.impostor)
    lines = [
        f"# Measured with the model pack {pack} on {len(comparisons.faces)} pictures:",
        f"# {count(genuine, 'genuine pair')}, {count(impostor, 'impostor pair')}.",
    ]
    for suggestion in suggestions:
        point = suggestion.point
        lines.append(
            f"# FAR {suggestion.wanted_far:g}: threshold {suggestion.threshold:.4f}, {point.false_accepts} "
            f"false accepts (FAR below {point.far_bound:.2g} at 95 % confidence), FRR {point.frr:.4f}"
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
            f"# Too few pictures for FAR {suggestions[-1].wanted_far:g}; the pack's thresholds stay.",
            'threshold = "auto"',
        ]
    return "\n".join(lines) + "\n"


def too_few(suggestion: Suggestion) -> str:
    needed = round(3 / suggestion.wanted_far)
    return (
        f"NOT DEMONSTRATED: {suggestion.point.impostors} impostor pairs are too few for this rate; "
        f"it takes {needed}"
    )


def pack_points(comparisons: Comparisons, named: dict[str, float]) -> list[Point]:
    return [
        at_threshold(comparisons.genuine, comparisons.impostor, threshold) for threshold in named.values()
    ]


def as_dict(
    comparisons: Comparisons,
    curve: Roc,
    named: dict[str, float],
    suggestions: list[Suggestion],
    discarding: list[DiscardCurve],
) -> dict[str, object]:
    """The whole calibration, for JSON."""
    alike, unlike = oddities(comparisons)
    return {
        "pictures": len(comparisons.faces),
        "people": len({item.person for item in comparisons.faces}),
        "genuine_pairs": len(comparisons.genuine),
        "impostor_pairs": len(comparisons.impostor),
        "auc": curve.auc,
        "eer": curve.eer,
        "pack": dict(zip(named, map(_point, pack_points(comparisons, named)), strict=True)),
        "table": [_point(point) for point in table(comparisons)],
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
        "pictures": [str(oddity.one.face.path), str(oddity.other.face.path)],
    }
