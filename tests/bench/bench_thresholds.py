"""Match rates of the default model pack on labelled pictures, and what automatic thresholds hold on them.

python -m tests.bench.bench_thresholds DIR [--photos 3] [--json]

DIR holds a folder for each person, such as LFW, or files PERSON_VARIANT.jpg. The first table has the fields
of `MatchRate` for `pipeline/models/packs.py`. Pairs share pictures, so their intervals are somewhat too
narrow. The second one searches for people outside a gallery, drawn again and again from the same pictures,
with the pack's automatic threshold for its size.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from daemon.config.settings import Settings
from daemon.evaluation.calibration import Comparisons, compare
from daemon.evaluation.faces import LabelledFace, labelled_faces
from daemon.evaluation.inputs import LabelledPicture, labelled_pictures
from daemon.evaluation.rates import Point, at_far, at_threshold, interval
from pipeline.faces.facen import confidence
from tests.bench.rows import arguments
from tests.faces import default_models

RATES = (1e-2, 1e-3, 1e-4, 1e-5)
GALLERIES = (10, 20, 40, 80)
"""Persons; galleries larger than half of the people are left out."""
DRAWS = 200
Rows = list[dict[str, float]]


def first_photos(pictures: Sequence[LabelledPicture], number: int) -> list[LabelledPicture]:
    """The first photos of everyone who has this number of them."""
    people: dict[str, list[LabelledPicture]] = {}
    for picture in pictures:
        people.setdefault(picture.person, []).append(picture)
    return [one for theirs in people.values() if len(theirs) >= number for one in theirs[:number]]


def match_rates(compared: Comparisons, named: Sequence[float]) -> Rows:
    points = [at_far(compared.genuine, compared.impostor, rate) for rate in RATES]
    points += [at_threshold(compared.genuine, compared.impostor, threshold) for threshold in named]
    return [_row(point) for point in sorted(points, key=lambda point: point.threshold)]


def _row(point: Point) -> dict[str, float]:
    low, high = interval(point.false_accepts, point.impostors)
    least, most = interval(point.genuines - point.false_rejects, point.genuines)
    return {
        "confidence": point.threshold,
        "false_matches": point.false_accepts,
        "impostor_pairs": point.impostors,
        "low": low,
        "high": high,
        "true_match_rate": point.tar,
        "true_low": least,
        "true_high": most,
    }


def open_set(faces: Sequence[LabelledFace], fpir: float) -> Rows:
    """The share of strangers who reach the automatic threshold, and of known people who do not."""
    thresholds, rng = default_models().pack.thresholds, np.random.default_rng(1)
    usable = [face for face in faces if face.face.facen is not None]
    facens = np.stack([face.face.facen for face in usable if face.face.facen is not None])
    alike = confidence((facens @ facens.T).astype(np.float32))
    people = np.array([face.person for face in usable])
    names, rows = np.unique(people), []
    for size in (size for size in GALLERIES if 2 * size <= len(names)):
        threshold, wrong, strangers, missed, known = thresholds.for_gallery(size, fpir), 0, 0, 0, 0
        for _ in range(DRAWS):
            members = rng.choice(names, size, replace=False)
            gallery = np.array([rng.choice(np.flatnonzero(people == name)) for name in members])
            others = ~np.isin(people, members)
            strangers += int(others.sum())
            wrong += int((alike[np.ix_(others, gallery)].max(axis=1) >= threshold).sum())
            for name, reference in zip(members, gallery, strict=True):
                mates = np.setdiff1d(np.flatnonzero(people == name), [reference])
                known += len(mates)
                missed += int((alike[mates, reference] < threshold).sum())
        rows.append(
            {
                "persons": size,
                "threshold": threshold,
                "fpir": wrong / strangers,
                "fnir": missed / known,
                "searches": strangers,
            }
        )
    return rows


def main() -> None:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--photos", type=int, default=2, help="photos a person; others are left out")
    parser.add_argument("--fpir", type=float, default=Settings().persons.fpir)
    options = parser.parse_args()
    pictures = first_photos(labelled_pictures(options.folder), options.photos)
    models = default_models()
    faces = labelled_faces(pictures, models, Settings(), lambda _: None)
    limits = models.pack.thresholds
    rates = match_rates(compare(faces), [limits.low, limits.medium, limits.strict])
    searched = open_set(faces, options.fpir)
    if options.json:
        print(json.dumps({"match_rates": rates, "open_set": searched}, indent=2))
        return
    for part in (rates, searched):
        if part:
            print(table_of(part), end="\n\n")


def table_of(rows: Rows) -> str:
    lines = ["  ".join(f"{name:>15}" for name in rows[0])]
    lines += ["  ".join(f"{value:>15.5g}" for value in row.values()) for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
