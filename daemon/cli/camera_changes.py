"""`facend cameras add`, `edit`, `disable` and `remove`: changing the cameras of the collection."""

import tomllib
from collections.abc import Mapping
from typing import Any

import click

from cameras.settings import CameraSettings
from daemon.cli import secrets as cli_secrets
from daemon.cli.store import Asked, as_json, store_options, with_store
from daemon.config import file as settings_file
from daemon.config.camera_documents import KNOWN, SECRETS, document_of, plain
from daemon.config.camera_secrets import CameraSecrets
from daemon.errors import SettingsError, StartError
from pipeline.base.redaction import redact, redact_text
from store import BadValueError, ConflictError, Context, Users

password_option = click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input; a terminal asks for it.",
)
changes_argument = click.argument("changes", metavar="[KEY=VALUE]...", nargs=-1)


@click.command()
@store_options()
@click.argument("cam_id", metavar="ID")
@click.argument("url")
@changes_argument
@password_option
def add(asked: Asked, cam_id: str, url: str, changes: tuple[str, ...], password_stdin: bool) -> None:
    """Add a camera to the collection.

    KEY=VALUE as in settings.toml's [[cameras]], such as max_fps=5 or 'roi=[[0.1, 0, 0.9, 1]]'. A password in
    the URL is kept on this box, not in MongoDB. In an argument it shows in `ps`: give user=NAME and
    --password-stdin, '${env:NAME}' or '${file:/path}' in the URL, or - to read the URL from standard input.
    """
    url = cli_secrets.argument(url, "URL")
    camera = _validated({**_read(changes), **_password(password_stdin), "id": cam_id, "url": url})
    secrets = CameraSecrets(asked.settings.data_dir)

    async def work(ctx: Context, user: Users.Model) -> None:
        if await ctx.cameras.count(user, {"id": cam_id}):
            raise StartError(f"there is a camera {cam_id} already; `facend cameras edit` changes it")
        try:
            await ctx.cameras.add(user, document_of(camera, secrets))
        except (BadValueError, ConflictError) as error:
            raise StartError(str(error)) from error

    with_store(asked, work)
    _say(asked, camera, "added")


@click.command()
@store_options()
@click.argument("cam_id", metavar="ID")
@changes_argument
@password_option
def edit(asked: Asked, cam_id: str, changes: tuple[str, ...], password_stdin: bool) -> None:
    """Change a camera of the collection: KEY=VALUE sets, KEY= goes back to the default."""
    _say(asked, _change(asked, cam_id, {**_read(changes), **_password(password_stdin)}), "changed")


@click.command()
@store_options()
@click.argument("cam_id", metavar="ID")
def disable(asked: Asked, cam_id: str) -> None:
    """Read a camera of the collection no more, until `edit ID enabled=true`."""
    _say(asked, _change(asked, cam_id, {"enabled": False}), "disabled")


@click.command()
@store_options()
@click.argument("cam_id", metavar="ID")
def remove(asked: Asked, cam_id: str) -> None:
    """Take a camera out of the collection; its faces and pictures stay."""

    async def work(ctx: Context, user: Users.Model) -> dict[str, Any]:
        removed = await ctx.cameras.remove_one(user, {"id": cam_id})
        if removed is None:
            raise _unknown(asked, cam_id)
        return dict(removed)

    document = with_store(asked, work)
    secrets = CameraSecrets(asked.settings.data_dir)
    for name in (cam_id, f"{cam_id}.url"):
        secrets.forget(name)
    if asked.as_json:
        click.echo(as_json(redact(plain(document))))
    else:
        click.echo(f"the camera {cam_id} is removed")


def _change(asked: Asked, cam_id: str, changes: Mapping[str, Any]) -> CameraSettings:
    """Validated with what it was before, as a whole; then stored."""
    if "id" in changes:
        raise StartError("a camera keeps its id, which its faces carry; add another camera instead")
    secrets = CameraSecrets(asked.settings.data_dir)

    async def work(ctx: Context, user: Users.Model) -> CameraSettings:
        document = await ctx.cameras.find_one(user, {"id": cam_id})
        if document is None:
            raise _unknown(asked, cam_id)
        anew = {"password_secret": "password" in changes, "url_secret": "url" in changes}
        # Those that stay need not be known here: another box may keep them.
        kept = {name: document[name] for name in SECRETS if name in document and not anew[name]}
        before = {key: value for key, value in plain(document).items() if key in KNOWN}
        camera = _validated(
            {
                key: value
                for key, value in {**before, **changes}.items()
                if key not in SECRETS and value is not None
            }
        )
        new = {**document_of(camera, secrets), **kept}
        gone = dict.fromkeys(set(before) - set(new), "")
        del new["id"]
        await ctx.cameras.update_one(
            user, {"id": cam_id}, {"$set": new, **({"$unset": gone} if gone else {})}
        )
        return camera

    return with_store(asked, work)


def _unknown(asked: Asked, cam_id: str) -> StartError:
    if any(camera.id == cam_id for camera in asked.settings.cameras):
        return StartError(f"the camera {cam_id} stands in settings.toml: change it there")
    return StartError(f"there is no camera {cam_id}; `facend cameras list` shows all")


def _validated(raw: Mapping[str, Any]) -> CameraSettings:
    if set(raw) & set(SECRETS):
        raise SettingsError(
            ["the names of secrets are not set by hand: give the password, or the URL with it"]
        )
    return settings_file.validate_camera(raw, f"the camera {raw.get('id')}")


def _read(changes: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE as in TOML; what is no TOML value is a text; nothing after the = is None."""
    read: dict[str, Any] = {}
    for change in map(cli_secrets.change, changes):
        key, equals, text = change.partition("=")
        if not equals:
            raise click.UsageError(f"{redact_text(change)}: expected KEY=VALUE")
        try:
            read[key] = tomllib.loads(f"value = {text}")["value"] if text else None
        except tomllib.TOMLDecodeError:
            read[key] = text
    return read


def _password(from_stdin: bool) -> dict[str, str]:
    if not from_stdin:
        return {}
    return {"password": cli_secrets.read("password")}


def _say(asked: Asked, camera: CameraSettings, done: str) -> None:
    if asked.as_json:
        click.echo(as_json(redact(camera.model_dump(mode="json", exclude={"password", "secret_end"}))))
    else:
        click.echo(f"the camera {camera.id} is {done}: {camera.masked_url}")
    if camera.id in {one.id for one in asked.settings.cameras}:
        click.echo(f"settings.toml has a camera {camera.id}, too, and decides", err=True)
    if camera.detector not in ("", asked.settings.box) and (camera.password or camera.secret_end):
        click.echo(
            f"its password lies on this box alone; on {camera.detector} say "
            f"`facend cameras edit {camera.id} --password-stdin`",
            err=True,
        )


CHANGES = (add, edit, disable, remove)
