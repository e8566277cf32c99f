"""No secret of a camera's URL leaves the process: 200 random URLs through the commands and a real daemon."""

import random
import string
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from pydantic import ValidationError

from cameras.settings import CameraSettings
from daemon.config.camera_documents import to_document
from daemon.config.camera_secrets import CameraSecrets
from daemon.config.validation import validate_camera
from daemon.errors import SettingsError
from store import BadValueError, Context, Users
from tests.daemon_process import daemon, facend, write_settings

LETTERS = string.ascii_letters + string.digits
PIECE = 8
"""No part of a secret of this length may show; shorter ones occur by chance."""


def random_urls() -> list[tuple[str, str]]:
    """200 URLs that nothing answers, and the secret in each: encoded, as it is, and in path or query."""
    chance = random.Random(21)  # noqa: S311  repeatable
    urls = []
    for number in range(200):
        secret = "".join(chance.choices(string.printable[:95], k=chance.randint(10, 24)))
        plain = "".join(chance.choices(LETTERS, k=16))
        urls.append(
            (
                (f"rtsp://u{plain[:5]}:{quote(secret, safe='')}@127.0.0.1:1/s", secret),
                (f"rtsp://admin:{secret}@127.0.0.1:1/s", secret),
                (f"rtsp://admin:{number}/{plain}@127.0.0.1:1/s", plain),
                (f"rtsp://127.0.0.1:1/user=admin_password={plain}_channel=1.sdp", plain),
                (f"http://127.0.0.1:1/snap.jpg?usr=a&pwd={quote(secret, safe='')}", secret),
            )[number % 5]
        )
    return urls


def shown_of(secret: str, text: str) -> list[str]:
    """The pieces of a secret that a text shows, as they are or percent-encoded."""
    forms = {secret, unquote(secret), quote(secret), quote(secret, safe="")}
    pieces = {form[place : place + PIECE] for form in forms for place in range(len(form) - PIECE + 1)}
    return [piece for piece in pieces if piece in text]


@pytest.mark.timeout(240)
async def test_200_urls_with_secrets_show_nowhere(ctx: Context, user: Users.Model, tmp_path: Path) -> None:
    """Not in errors, `check`, `cameras`, the log, /status, /metrics, documents, or files but `secrets/`."""
    secrets = CameraSecrets(tmp_path / "own")
    cameras, shown = [], []
    for number, (url, secret) in enumerate(random_urls()):
        raw = {"id": f"c{number}", "url": url, "reconnect_max_seconds": 60}
        with pytest.raises(BadValueError) as refused:
            await ctx.cameras.add(user, raw)
        shown.append((secret, str(refused.value)))
        try:
            camera = validate_camera(raw, "the camera")
        except SettingsError as error:
            shown.append((secret, str(error)))
            with pytest.raises(ValidationError) as invalid:
                CameraSettings.model_validate(raw)
            shown.append((secret, str(invalid.value)))
            continue
        cameras.append((secret, raw))
        shown.append((secret, str(to_document(camera, secrets))))
        shown.append((secret, str(dict(await ctx.cameras.add(user, to_document(camera, secrets))))))
    assert len(cameras) > 100
    path = write_settings(tmp_path, [raw for _, raw in cameras[:40]])
    with daemon(path) as process:
        process.running()
        process.until(
            "the reason of every camera",
            lambda: (
                sum(one["reason"] == "refused" for one in process.status()["cameras"]) >= len(cameras[:40])
            ),
            120,
        )
        listed = [
            facend(*words, "--settings", path) for words in (["check"], ["cameras"], ["cameras", "list"])
        ]
        texts = [process.get("/status")[1], process.get("/metrics")[1], process.text()]
        texts += [done.stdout + done.stderr for done in listed]
        process.stop()
    files = [one for one in (tmp_path / "data").rglob("*") if one.is_file() and one.parent.name != "secrets"]
    texts += [one.read_bytes().replace(b"\0", b"").decode("latin-1") for one in files]  # journals are padded
    shown += [(secret, text) for secret, _ in cameras for text in texts]
    assert [(secret, found) for secret, text in shown if (found := shown_of(secret, text))] == []
