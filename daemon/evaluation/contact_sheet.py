"""A contact sheet of a scene: every stored face as a small picture, one row or more for each person."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from PIL import Image, ImageDraw

from daemon.evaluation.inputs import InputError
from daemon.evaluation.plot import text_font
from daemon.evaluation.scene_scores import SceneFace

_COLUMNS = 10
_WIDTH, _HEIGHT = 112, 140
"""Of a face's picture, in pixels."""
_CAPTION, _TITLE = 32, 26
_MARGIN = 6
_INK, _WRONG, _GREY = "#222222", "#c8401e", "#d8d8d8"


def write_sheet(path: Path, faces: Iterable[SceneFace], owners: Mapping[int, Counter[str]]) -> None:
    """Writes the sheet as a PNG. `owners`: the identities of each person's faces.

    Raises:
        InputError: the file cannot be written.
    """
    groups: dict[int | None, list[SceneFace]] = {}
    for face in sorted(faces, key=lambda one: (one.person_id is None, one.person_id or 0, one.media_time)):
        groups.setdefault(face.person_id, []).append(face)
    sections = [_section(_title(person, owners), group) for person, group in groups.items()]
    width = _COLUMNS * (_WIDTH + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, sum(one.height for one in sections) or _TITLE), "white")
    top = 0
    for section in sections:
        sheet.paste(section, (0, top))
        top += section.height
    try:
        sheet.save(path, format="PNG")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _title(person: int | None, owners: Mapping[int, Counter[str]]) -> tuple[str, bool]:
    """The title of a person's rows, and whether the person is wrong."""
    if person is None:
        return "without a person", False
    identities = owners[person]
    if not identities:
        return f"person {person}: no visit, JUNK", True
    names = ", ".join(f"{identity} ({number})" for identity, number in identities.most_common())
    rivals = [one for one, others in owners.items() if one != person and others.keys() & identities.keys()]
    note = ", MIXED" if len(identities) > 1 else ""
    if rivals:
        note += f", SPLIT: also {', '.join(f'person {rival}' for rival in rivals)}"
    return f"person {person}: {names}{note}", bool(note)


def _section(title: tuple[str, bool], faces: Sequence[SceneFace]) -> Image.Image:
    rows = -(-len(faces) // _COLUMNS)
    width, row = _COLUMNS * (_WIDTH + _MARGIN) + _MARGIN, _HEIGHT + _CAPTION + _MARGIN
    section = Image.new("RGB", (width, _TITLE + rows * row), "white")
    draw = ImageDraw.Draw(section)
    text, wrong = title
    draw.line((0, 1, width, 1), fill=_GREY)
    draw.text((_MARGIN, 6), text, font=text_font(14), fill=_WRONG if wrong else _INK)
    for number, face in enumerate(faces):
        left = _MARGIN + number % _COLUMNS * (_WIDTH + _MARGIN)
        top = _TITLE + number // _COLUMNS * row
        section.paste(_picture(face), (left, top))
        size = round(min(face.bbox.width, face.bbox.height))
        captions = (
            f"{face.cam_id[:16]} {face.media_time:.1f} s",
            f"q {face.score:.1f}, {size} px, {face.outcome}",
        )
        for line, caption in enumerate(captions):
            draw.text((left, top + _HEIGHT + 1 + 14 * line), caption, font=text_font(10), fill=_INK)
    return section


def _picture(face: SceneFace) -> Image.Image:
    """The thumbnail, fitted into its place; grey where there is none."""
    place = Image.new("RGB", (_WIDTH, _HEIGHT), _GREY)
    parts = urlsplit(face.thumbnail or "")
    if parts.scheme == "file":
        with Image.open(os.fsdecode(unquote_to_bytes(parts.path))) as picture:
            fitted = picture.convert("RGB")
            scale = min(_WIDTH / fitted.width, _HEIGHT / fitted.height)
            fitted = fitted.resize(
                (max(1, round(fitted.width * scale)), max(1, round(fitted.height * scale)))
            )
            place.paste(fitted, ((_WIDTH - fitted.width) // 2, (_HEIGHT - fitted.height) // 2))
    return place
