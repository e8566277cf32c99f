"""`facend probe`: connects to a camera and reports what it sends."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from pydantic import ValidationError

from cameras.errors import SourceError
from cameras.settings import CameraSettings
from cameras.source.probe import ProbeResult
from cameras.source.sample_view import sample_view
from daemon.cli import secrets as cli_secrets
from daemon.cli.options import json_option, password_option, settings_option
from daemon.cli.output import echo_table
from daemon.config import settings_file
from daemon.config.settings import Settings
from daemon.errors import SettingsError, StartError
from daemon.model_loading import load_models
from daemon.runtime import logs
from pipeline.base.urls import UrlError, joined, mask_url, split_url
from pipeline.extractor import FaceExtractor
from pipeline.faces.camera_view import CameraView, judge_view
from pipeline.faces.quality import PARTS
from pipeline.types import ExtractionFace, Picture, Quality, Rectangle

GREEN_BGR, WHITE_BGR = (80, 200, 60), (255, 255, 255)
FORMATS: dict[str, list[int]] = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 92],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 92],
    ".png": [],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 92],
    ".bmp": [],
    ".tif": [],
    ".tiff": [],
}
"""Options of the encoder, by file suffix."""
INTERVAL_SECONDS = 0.5
MAX_OVERLAP = 0.3
"""Faces that overlap more are considered the same."""
ID = re.compile(r"[A-Za-z0-9_-]{1,44}")


@click.command("probe")
@click.argument("place", metavar="ID|URL")
@click.option(
    "--seconds",
    type=click.FloatRange(0, 600),
    default=10,
    show_default=True,
    help="Time for which faces are searched; 0 for the first picture only.",
)
@click.option(
    "--transport",
    type=click.Choice(["auto", "tcp", "udp"]),
    default=None,
    help="RTSP transport. Default: auto.",
)
@click.option(
    "--tls-verify",
    metavar="true|false|FILE",
    default=None,
    help="For https and rtsps: verify the certificate, or a CA file to verify it against. Default: true.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("probe.jpg"),
    show_default=True,
    help=f"File for the picture; its suffix selects the format: {', '.join(FORMATS)}.",
)
@click.option("--user", metavar="NAME", default=None, help="User name, instead of one in the URL.")
@password_option
@settings_option
@json_option
def probe_command(
    place: str,
    seconds: float,
    transport: str | None,
    tls_verify: str | None,
    out: Path,
    user: str | None,
    password_stdin: bool,
    settings_path: Path | None,
    as_json: bool,
) -> None:
    """Connect to a camera and report what it sends, and whether its view suits.

    ID is a camera of settings.toml or the collection; its login is used. Faces are searched for --seconds.
    One picture is written to a file. It shows every face that was seen, with size and quality score.

    Arguments are visible in `ps`: instead of a password in the URL, use --user, which prompts for the
    password, or --password-stdin, '${env:NAME}' or '${file:/path}' in the URL, or - to read the URL from
    standard input.
    """
    if out.suffix.lower() not in FORMATS:
        raise click.UsageError(f"--out {out}: expected a suffix of {', '.join(FORMATS)}")
    settings, known = _known(place, settings_path)
    url = "" if known else cli_secrets.argument(place, "URL")
    logs.configure(settings.log_format, "warning")
    given: dict[str, Any] = {"user": user, "transport": transport}
    if password_stdin or _wants_prompt(user, url):
        given["password"] = cli_secrets.read("password")
    if tls_verify is not None:
        given["tls_verify"] = {"true": True, "false": False}.get(tls_verify, tls_verify)
    given = {key: value for key, value in given.items() if value is not None}
    sampler = _Sampler(settings)
    try:
        if known is not None:
            camera = CameraSettings.model_validate({**_raw(known), **given})
        else:
            camera = CameraSettings.model_validate({"id": "probe", "url": url, **given})
        seen, interrupted = sample_view(camera, seconds, INTERVAL_SECONDS, sampler.add)
    except ValidationError as error:
        reasons = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise SettingsError([f"{mask_url(url or place)}: {reasons}"]) from None
    except SourceError as error:
        raise StartError(f"{error} ({error.reason.value})") from error
    view = judge_view(sampler.faces, camera.min_face_px, camera.min_score)
    shown = sampler.shown()
    _write(out, draw_faces(sampler.picture(shown), [face for face, _, _ in shown]))
    report = _report(seen, [(face, quality) for face, quality, _ in shown], out)
    report |= {"pictures": sampler.pictures, "interrupted": interrupted, "view": asdict(view)}
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(report, view, shown)


def _known(place: str, settings_path: Path | None) -> tuple[Settings, CameraSettings | None]:
    """The settings, and the camera of this id; None for a URL.

    Raises:
        StartError: this is neither the id of a camera nor a URL.
    """
    is_id = (
        ID.fullmatch(place) is not None and place != cli_secrets.STANDARD_INPUT and not Path(place).exists()
    )
    if not is_id:
        return (settings_file.load(settings_path) if settings_path else Settings()), None
    settings = settings_file.load(settings_path or settings_file.find())
    for camera in settings.cameras:
        if camera.id == place:
            return settings, camera

    from daemon.cli.context import CommandContext  # slow to import, as the store is
    from daemon.cli.store import read_rows
    from daemon.config.camera_documents import read_camera
    from daemon.config.camera_secrets import CameraSecrets
    from store import Context, Users

    async def work(ctx: Context, user: Users.Model) -> list[dict[str, Any]]:
        return [dict(camera) for camera in await ctx.cameras.find(user, {"id": place})]

    documents = read_rows(CommandContext(settings), work)
    if not documents:
        raise StartError(
            f"there is no camera {place}, and no file of that name; `facend cameras list` shows all cameras"
        )
    return settings, read_camera(documents[0], CameraSecrets(settings.data_dir))


def _raw(camera: CameraSettings) -> dict[str, Any]:
    """The camera's settings in the form that is validated, with the secrets."""
    raw = camera.model_dump(mode="python", exclude_unset=True)
    url = joined(camera.url, camera.secret_end.get_secret_value() if camera.secret_end else None)
    return {**{key: value for key, value in raw.items() if key != "secret_end"}, "url": url}


def _wants_prompt(user: str | None, url: str) -> bool:
    """Whether to prompt for a password: on a terminal, for a user without one."""
    if not user or not url or not sys.stdin.isatty():
        return False
    try:
        return not split_url(url).password
    except UrlError:
        return False


class _Sampler:
    """Searches faces in a sequence of pictures, and keeps the best ones."""

    def __init__(self, settings: Settings) -> None:
        self._extractor = FaceExtractor(load_models(settings))
        self._best: Picture | None = None
        self._most = -1
        self._crops: list[tuple[ExtractionFace, Quality, Picture]] = []
        self.faces: list[tuple[ExtractionFace, Quality]] = []
        self.pictures = 0

    def add(self, picture: Picture) -> None:
        found = self._extractor.extract_with_quality(picture)
        self.pictures += 1
        self.faces += found
        for face, quality in found:
            self._crops.append((face, quality, _region(picture, face["bbox"]).copy()))
        self._crops = _without_overlaps(self._crops)
        if len(found) > self._most:
            self._best, self._most = picture, len(found)

    def shown(self) -> list[tuple[ExtractionFace, Quality, Picture]]:
        """The best non-overlapping faces with their pixels, the best first."""
        return self._crops

    def picture(self, shown: Sequence[tuple[ExtractionFace, Quality, Picture]]) -> Picture:
        """The picture with most faces, into which the faces of other pictures are copied at their
        positions."""
        assert self._best is not None  # noqa: S101  there is a first picture
        whole = self._best.copy()
        for face, _, crop in reversed(shown):
            place = _region(whole, face["bbox"])
            if place.shape == crop.shape:  # the stream may change its size
                place[:] = crop
        return whole


def _without_overlaps(
    faces: Sequence[tuple[ExtractionFace, Quality, Picture]],
) -> list[tuple[ExtractionFace, Quality, Picture]]:
    """The best faces that do not overlap."""
    kept: list[tuple[ExtractionFace, Quality, Picture]] = []
    for one in sorted(faces, key=lambda one: -one[1].score):
        if all(_overlap(one[0]["bbox"], other[0]["bbox"]) < MAX_OVERLAP for other in kept):
            kept.append(one)
    return kept


def _overlap(one: Rectangle, other: Rectangle) -> float:
    """Share of the smaller rectangle that both have in common."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(0.0, width) * max(0.0, height) / max(1.0, min(one.area, other.area))


def _region(picture: Picture, box: Rectangle) -> Picture:
    """A view of the box's pixels with a margin around it."""
    margin = round(box.width / 3)
    left, top = max(0, round(box.left) - margin), max(0, round(box.top) - margin)
    return picture[top : max(top, round(box.bottom) + margin), left : max(left, round(box.right) + margin)]


def _print(
    report: dict[str, Any], view: CameraView, shown: Sequence[tuple[ExtractionFace, Quality, Picture]]
) -> None:
    for key, value in report.items():
        if key not in ("faces", "view") and value != "":
            click.echo(f"{key.replace('_', ' '):<26}{value}")
    if view.widths_px is not None:
        low, middle, high = view.widths_px
        click.echo(f"{'face width':<26}{low} to {high} px, median {middle}")
    click.echo(f"{'view':<26}{'suits' if view.suits else 'does not suit'}")
    for text in view.advice:
        click.echo(f"{'':<26}{text}")
    click.echo(f"{'faces':<26}{len(shown)}")
    if shown:
        rows = [_row(number, face, quality) for number, (face, quality, _) in enumerate(shown, 1)]
        echo_table([("", "px", "at", "quality", *PARTS), *rows])


def _row(number: int, face: ExtractionFace, quality: Quality) -> tuple[object, ...]:
    """A row of the table: position, quality score, and the contribution of each part."""
    box = face["bbox"]
    where = f"{box.width:.0f}x{box.height:.0f}", f"{box.left:.0f},{box.top:.0f}"
    shares = (quality.score, *(quality.parts[name] for name in PARTS))
    return f"  {number}", *where, *(f"{value:.2f}" if value <= -0.005 else "0" for value in shares)


def _report(seen: ProbeResult, faces: list[tuple[ExtractionFace, Quality]], out: Path) -> dict[str, Any]:
    return {
        "url": seen.url,
        "codec": seen.codec,
        "size": f"{seen.width}x{seen.height}",
        "frames_per_second": round(seen.fps, 2) if seen.fps else None,
        "seconds_to_first_picture": round(seen.seconds_to_first_picture, 2),
        "damaged_pictures": seen.damaged_pictures,
        "faces": [
            {"bbox": list(face["bbox"]), "quality": quality.score, "parts": dict(quality.parts)}
            for face, quality in faces
        ],
        "picture": str(out),
    }


def draw_faces(picture: Picture, faces: list[ExtractionFace]) -> Picture:
    """A copy of the picture with the box, size and quality score of each face."""
    shown = picture.copy()
    thick = max(1, round(max(picture.shape[:2]) / 640))
    for face in faces:
        left, top, right, bottom = (round(value) for value in face["bbox"])
        cv2.rectangle(shown, (left, top), (right, bottom), GREEN_BGR, thick)
        place = (max(0, left), max(14 * thick, top - 4 * thick))
        text = f"{right - left}x{bottom - top} {face['score']:.2f}"
        for colour, width in ((WHITE_BGR, 3 * thick), (GREEN_BGR, thick)):
            cv2.putText(shown, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * thick, colour, width, cv2.LINE_AA)
    return shown


def _write(path: Path, picture: Picture) -> None:
    _, encoded = cv2.imencode(path.suffix.lower(), picture, FORMATS[path.suffix.lower()])
    try:
        path.write_bytes(np.asarray(encoded).tobytes())
    except OSError as error:
        raise StartError(f"--out {path}: cannot be written ({error.strerror})") from error


COMMANDS = (probe_command,)
