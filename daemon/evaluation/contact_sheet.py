"""A contact sheet of a scene: every stored face as a small picture, person by person."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from PIL import Image, ImageDraw

from daemon.evaluation.inputs import InputError
from daemon.evaluation.plot import text_font
from daemon.evaluation.scene_scores import SceneFace

_COLUMNS = 10
_WIDTH, _HEIGHT = 112, 140
"""Size of a face's picture, in pixels."""
_LINE = 13
_MARGIN = 8
_INK, _WRONG, _GREY = "#222222", "#c8401e", "#d8d8d8"


def write_sheet(path: Path, faces: Iterable[SceneFace], identities_of: Mapping[int, Counter[str]]) -> None:
    """Write the sheet as a PNG: persons by id, then faces without a person. Junk, mixed and split persons are
    marked in red. `identities_of`: the identities of each person's faces.

    Raises:
        InputError: the file cannot be written.
    """
    ordered = sorted(faces, key=lambda one: (one.person_id is None, one.person_id or 0, one.media_time))
    width, height = _WIDTH + _MARGIN, _HEIGHT + 3 * _LINE + _MARGIN
    rows = max(1, -(-len(ordered) // _COLUMNS))
    sheet = Image.new("RGB", (_COLUMNS * width + _MARGIN, rows * height + _MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), text_font(5)
    for number, face in enumerate(ordered):
        left, top = _MARGIN + number % _COLUMNS * width, _MARGIN + number // _COLUMNS * height
        sheet.paste(_picture(face), (left, top))
        title, is_wrong = _title(face.person_id, identities_of)
        size = round(min(face.bbox.width, face.bbox.height))
        lines = (
            title,
            f"{face.cam_id[:14]} {face.media_time:.1f} s",
            f"q {face.score:.1f} {size} px {face.outcome or ''}",
        )
        for line, text in enumerate(lines):
            colour = _WRONG if is_wrong and line == 0 else _INK
            draw.text((left, top + _HEIGHT + line * _LINE), text, font=font, fill=colour)
    try:
        sheet.save(path, format="PNG")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _title(person: int | None, identities_of: Mapping[int, Counter[str]]) -> tuple[str, bool]:
    """The caption for a person, and whether it reports an error."""
    if person is None:
        return "no person", False
    identities = identities_of[person]
    if not identities:
        return f"{person} JUNK", True
    if len(identities) > 1:
        return f"{person} MIXED {'+'.join(sorted(identities))}", True
    (identity,) = identities
    is_split = any(other != person and identity in others for other, others in identities_of.items())
    return f"{person} {'SPLIT ' if is_split else ''}{identity}", is_split


def _picture(face: SceneFace) -> Image.Image:
    """The thumbnail, scaled to fit and centred; grey if there is none."""
    cell = Image.new("RGB", (_WIDTH, _HEIGHT), _GREY)
    parts = urlsplit(face.thumbnail or "")
    if parts.scheme == "file":
        with Image.open(os.fsdecode(unquote_to_bytes(parts.path))) as picture:
            fitted = picture.convert("RGB")
            scale = min(_WIDTH / fitted.width, _HEIGHT / fitted.height)
            fitted = fitted.resize(
                (max(1, round(fitted.width * scale)), max(1, round(fitted.height * scale)))
            )
            cell.paste(fitted, ((_WIDTH - fitted.width) // 2, (_HEIGHT - fitted.height) // 2))
    return cell
