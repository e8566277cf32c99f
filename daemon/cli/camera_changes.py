"""`facend cameras add`, `edit`, `disable` and `remove`: changes to the cameras of the collection."""

from collections.abc import Mapping
from typing import Any

import click

from cameras.settings import CameraSettings
from daemon.cli import secrets as cli_secrets
from daemon.cli.changes import changes_argument, parsed_changes
from daemon.cli.context import CommandContext, store_options
from daemon.cli.options import password_option
from daemon.cli.output import to_json
from daemon.cli.store import with_store
from daemon.config.camera_documents import KNOWN, SECRETS, to_document, without_store_fields
from daemon.config.camera_secrets import CameraSecrets
from daemon.config.validation import validate_camera
from daemon.errors import SettingsError, StartError
from pipeline.base.redaction import redact
from store import BadValueError, ConflictError, Context, Users


@click.command()
@store_options()
@click.argument("cam_id", metavar="ID")
@click.argument("url")
@changes_argument
@password_option
def add(
    command: CommandContext, cam_id: str, url: str, changes: tuple[str, ...], password_stdin: bool
) -> None:
    """Add a camera to the collection.

    KEY=VALUE is a setting of [[cameras]] in settings.toml, such as max_fps=5 or 'roi=[[0.1, 0, 0.9, 1]]'.

    A password is kept on this box, not in MongoDB. Arguments are visible in `ps`: instead of a password in
    the URL, use user=NAME and --password-stdin, '${env:NAME}' or '${file:/path}' in the URL, or - to read the
    URL from standard input.
    """
    url = cli_secrets.argument(url, "URL")
    camera = _validate({**parsed_changes(changes), **_password(password_stdin), "id": cam_id, "url": url})
    secrets = CameraSecrets(command.settings.data_dir)

    async def work(ctx: Context, user: Users.Model) -> None:
        if await ctx.cameras.count(user, {"id": cam_id}):
            raise StartError(f"camera {cam_id} exists already; `facend cameras edit` changes it")
        try:
            await ctx.cameras.add(user, to_document(camera, secrets))
        except (BadValueError, ConflictError) as error:
            raise StartError(str(error)) from error

    with_store(command, work)
    _echo_camera(command, camera, "added")


@click.command()
@store_options()
@click.argument("cam_id", metavar="ID")
@changes_argument
@password_option
def edit(command: CommandContext, cam_id: str, changes: tuple[str, ...], password_stdin: bool) -> None:
    """Change settings of a camera of the collection.

    KEY=VALUE sets a value, KEY= restores the default.
    """
    _echo_camera(
        command, _change(command, cam_id, {**parsed_changes(changes), **_password(password_stdin)}), "changed"
    )


@click.command()
@store_options()
@click.argument("cam_id", metavar="ID")
def disable(command: CommandContext, cam_id: str) -> None:
    """Stop reading a camera of the collection; `edit ID enabled=true` enables it again."""
    _echo_camera(command, _change(command, cam_id, {"enabled": False}), "disabled")


@click.command()
@store_options()
@click.argument("cam_id", metavar="ID")
def remove(command: CommandContext, cam_id: str) -> None:
    """Remove a camera from the collection; its faces and pictures stay."""

    async def work(ctx: Context, user: Users.Model) -> dict[str, Any]:
        removed = await ctx.cameras.remove_one(user, {"id": cam_id})
        if removed is None:
            raise _unknown_camera(command, cam_id)
        return dict(removed)

    document = with_store(command, work)
    secrets = CameraSecrets(command.settings.data_dir)
    for name in (cam_id, f"{cam_id}.url"):
        secrets.forget(name)
    if command.as_json:
        click.echo(to_json(redact(without_store_fields(document))))
    else:
        click.echo(f"camera {cam_id} is removed")


def _change(command: CommandContext, cam_id: str, changes: Mapping[str, Any]) -> CameraSettings:
    """Validate the changed camera as a whole, then store it."""
    if "id" in changes:
        raise StartError("the id of a camera cannot change: its faces refer to it; add another camera")
    secrets = CameraSecrets(command.settings.data_dir)

    async def work(ctx: Context, user: Users.Model) -> CameraSettings:
        document = await ctx.cameras.find_one(user, {"id": cam_id})
        if document is None:
            raise _unknown_camera(command, cam_id)
        changed = {"password_secret": "password" in changes, "url_secret": "url" in changes}
        # Unchanged secrets may be stored on another box.
        kept = {name: document[name] for name in SECRETS if name in document and not changed[name]}
        before = {key: value for key, value in without_store_fields(document).items() if key in KNOWN}
        camera = _validate(
            {
                key: value
                for key, value in {**before, **changes}.items()
                if key not in SECRETS and value is not None
            }
        )
        new = {**to_document(camera, secrets), **kept}
        removed = dict.fromkeys(set(before) - set(new), "")
        del new["id"]
        await ctx.cameras.update_one(
            user, {"id": cam_id}, {"$set": new, **({"$unset": removed} if removed else {})}
        )
        return camera

    return with_store(command, work)


def _unknown_camera(command: CommandContext, cam_id: str) -> StartError:
    if any(camera.id == cam_id for camera in command.settings.cameras):
        return StartError(f"camera {cam_id} is defined in settings.toml: change it there")
    return StartError(f"there is no camera {cam_id}; `facend cameras list` shows all cameras")


def _validate(raw: Mapping[str, Any]) -> CameraSettings:
    if set(raw) & set(SECRETS):
        raise SettingsError(
            ["the names of secrets cannot be set: set the password, or the URL with a password"]
        )
    return validate_camera(raw, f"camera {raw.get('id')}")


def _password(from_stdin: bool) -> dict[str, str]:
    if not from_stdin:
        return {}
    return {"password": cli_secrets.read("password")}


def _echo_camera(command: CommandContext, camera: CameraSettings, done: str) -> None:
    if command.as_json:
        click.echo(to_json(redact(camera.model_dump(mode="json", exclude={"password", "secret_end"}))))
    else:
        click.echo(f"camera {camera.id} is {done}: {camera.masked_url}")
    if camera.id in {other.id for other in command.settings.cameras}:
        click.echo(f"settings.toml also defines camera {camera.id}, and takes precedence", err=True)
    if camera.detector not in ("", command.settings.box) and (camera.password or camera.secret_end):
        click.echo(
            f"its password is stored on this box only; on {camera.detector}, run "
            f"`facend cameras edit {camera.id} --password-stdin`",
            err=True,
        )


CHANGES = (add, edit, disable, remove)
