"""`facend probe`: connects to a camera and reports what it sends."""

import json
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from pydantic import ValidationError

from cameras.errors import SourceError
from cameras.settings import CameraSettings
from cameras.source.probe import ProbeResult, probe
from daemon.cli import secrets as cli_secrets
from daemon.cli.options import json_option, password_option, settings_option
from daemon.cli.output import echo_table
from daemon.config import file as settings_file
from daemon.config.settings import Settings
from daemon.errors import SettingsError, StartError
from daemon.models import load_models
from daemon.runtime import logs
from pipeline.base.urls import mask_url
from pipeline.extractor import FaceExtractor
from pipeline.faces.quality import PARTS
from pipeline.types import ExtractionFace, Picture, Quality

GREEN_BGR, WHITE_BGR = (80, 200, 60), (255, 255, 255)


@click.command("probe")
@click.argument("url")
@click.option(
    "--transport",
    type=click.Choice(["auto", "tcp", "udp"]),
    default="auto",
    show_default=True,
    help="RTSP transport.",
)
@click.option(
    "--tls-verify",
    metavar="true|false|FILE",
    default="true",
    show_default=True,
    help="For https and rtsps: verify the certificate, or a CA file to verify it against.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("probe.jpg"),
    show_default=True,
    help="File for the picture.",
)
@click.option("--user", metavar="NAME", default=None, help="User name, instead of one in the URL.")
@password_option
@settings_option
@json_option
def probe_command(
    url: str,
    transport: str,
    tls_verify: str,
    out: Path,
    user: str | None,
    password_stdin: bool,
    settings_path: Path | None,
    as_json: bool,
) -> None:
    """Connect to a camera and report what it sends.

    One picture is written to a file, with the detected faces and their quality scores marked.

    Arguments are visible in `ps`: instead of a password in the URL, use --user and --password-stdin,
    '${env:NAME}' or '${file:/path}' in the URL, or - to read the URL from standard input.
    """
    url = cli_secrets.argument(url, "URL")
    login = {"user": user} if user else {}
    if password_stdin:
        login["password"] = cli_secrets.read("password")
    settings = settings_file.load(settings_path) if settings_path else Settings()
    logs.configure(settings.log_format, "warning")
    given = {
        "id": "probe",
        "url": url,
        **login,
        "transport": transport,
        "tls_verify": {"true": True, "false": False}.get(tls_verify, tls_verify),
    }
    try:
        camera = CameraSettings.model_validate(given)
        seen = probe(camera)
    except ValidationError as error:
        reasons = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise SettingsError([f"{mask_url(url)}: {reasons}"]) from None
    except SourceError as error:
        raise StartError(f"{error} ({error.reason.value})") from error
    faces = FaceExtractor(load_models(settings)).judged(seen.picture)
    _write(out, drawn(seen.picture, [face for face, _ in faces]))
    report = _report(seen, faces, out)
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    for key, value in report.items():
        if key != "faces":
            click.echo(f"{key.replace('_', ' '):<26}{value}")
    click.echo(f"{'faces':<26}{len(faces)}")
    if faces:
        rows = [_row(number, face, quality) for number, (face, quality) in enumerate(faces, 1)]
        echo_table([("", "px", "at", "quality", *PARTS), *rows])


def _row(number: int, face: ExtractionFace, quality: Quality) -> tuple[object, ...]:
    """One face: position, quality score, and the share of each part in it."""
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


def drawn(picture: Picture, faces: list[ExtractionFace]) -> Picture:
    """A copy of the picture with the box and quality score of each face."""
    shown = picture.copy()
    thick = max(1, round(max(picture.shape[:2]) / 640))
    for face in faces:
        left, top, right, bottom = (round(value) for value in face["bbox"])
        cv2.rectangle(shown, (left, top), (right, bottom), GREEN_BGR, thick)
        place = (max(0, left), max(14 * thick, top - 4 * thick))
        text = f"{face['score']:.2f}"
        for colour, width in ((WHITE_BGR, 3 * thick), (GREEN_BGR, thick)):
            cv2.putText(shown, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * thick, colour, width, cv2.LINE_AA)
    return shown


def _write(path: Path, picture: Picture) -> None:
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
    try:
        path.write_bytes(np.asarray(encoded).tobytes())
    except OSError as error:
        raise StartError(f"--out {path}: cannot be written ({error.strerror})") from error


COMMANDS = (probe_command,)
