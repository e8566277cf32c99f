"""How fast pictures are enrolled, beside the extraction of faces alone, in one run.

python -m tests.bench.bench_enroll [--json] [--rounds 5]
"""

import asyncio
import tempfile
from pathlib import Path

import cv2
import numpy as np

from pipeline.extractor import FaceExtractor
from store import Context, StoreSettings
from store.identity.enrolment import Enrolment
from store.identity.enrolment_examination import EnrolmentSettings
from store.identity.enrolment_folder import EnrolmentPicture
from tests.bench.rows import Row, arguments, compared, show
from tests.faces import default_models, portrait

PICTURES = 24
"""In a turn: four of each of six people."""
SIDES = (240, 900)
"""Of the pictures, in pixels: a cut, and a photograph from a phone."""


async def measure(rounds: int) -> list[Row]:
    extractor = FaceExtractor(default_models())
    with tempfile.TemporaryDirectory(prefix="facend-", ignore_cleanup_errors=True) as folder:
        here = Path(folder)
        async with Context.open(
            StoreSettings(), data_dir=here, extractor=extractor, load_facens=False
        ) as ctx:
            return [await _enrol(ctx, here, rounds, side) for side in SIDES]


async def _enrol(ctx: Context, folder: Path, rounds: int, side: int) -> Row:
    user = await ctx.users.add({})
    settings = EnrolmentSettings(gallery="staff", pack="opencv-zoo", threshold=0.75, min_score=-5)
    turn = 0

    async def enrol() -> None:
        nonlocal turn
        turn += 1
        run = Enrolment(ctx, user, settings).run(_pictures(folder, side, turn))
        outcomes = [outcome async for outcome in run]
        assert {outcome.result for outcome in outcomes} == {"taken"}, outcomes

    async def extract() -> None:
        for picture in _pictures(folder, side, 0):
            assert await ctx.extractor.extract(picture.path.read_bytes())

    _pictures(folder, side, 0)
    ours, bare, ratio = await compared(rounds, enrol, extract)
    case = f"{side}×{side} px"
    return Row("enrolment", case, PICTURES / ours, "pictures/s", PICTURES / bare, ratio)


def _pictures(folder: Path, side: int, turn: int) -> list[EnrolmentPicture]:
    """The turn's own pictures: the same in every turn but for one pixel, so that none is known already."""
    made = []
    for number in range(PICTURES):
        path = folder / f"{side}-{turn}-{number}.png"
        if not path.exists():
            picture = np.array(portrait(number % 6, round(side / 1.8)))
            picture[0, 0] = (turn % 256, number, 0)
            cv2.imwrite(str(path), picture)
        made.append(EnrolmentPicture(path, path.name, f"person {number % 6}"))
    return made


def main() -> None:
    parser = arguments("enrolment beside extraction alone")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    show(asyncio.run(measure(given.rounds)), as_json=given.json)


if __name__ == "__main__":
    main()
