"""`facend cameras`: the cameras and their state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click

from cameras.settings import CameraSettings
from daemon.cli import camera_changes as cli_camera_changes
from daemon.cli.camera_discovery import discover
from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.options import json_option, settings_option
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import read_rows
from daemon.config import settings_file
from daemon.config.camera_documents import SECRETS, read_camera, without_store_fields
from daemon.config.camera_secrets import CameraSecrets
from daemon.errors import SettingsError, StartError
from daemon.http import client as daemon_client
from daemon.status import CameraReport, DaemonReport
from pipeline.base.redaction import redact
from store import Context, Users

STATUS_FIELDS = ("since", "codec", "width", "height", "fps", "frames_decoded")


@click.group(cls=CommandGroup, invoke_without_command=True)
@settings_option
@json_option
@click.pass_context
def cameras(context: click.Context, settings_path: Path | None, as_json: bool) -> None:
    """List the cameras and their state, and change them.

    Cameras in settings.toml are changed in that file, cameras in MongoDB's collection with add, edit,
    disable and remove. A running daemon applies both within seconds.
    """
    if context.invoked_subcommand is not None:
        if settings_path or as_json:
            raise click.UsageError("put --settings and --json after the subcommand")
        return
    path = settings_path or settings_file.find()
    try:
        settings = settings_file.load(path)
    except SettingsError as error:
        _show([_status_row(camera) for camera in _status_with_invalid_settings(error, path).cameras], as_json)
        return
    status: DaemonReport | None
    try:
        status = daemon_client.status(settings)
    except daemon_client.NoAnswerError:
        status = None
    running = {camera.cam_id: camera for camera in status.cameras} if status else {}
    rows = [_row(camera, running.pop(camera.id, None)) for camera in settings.cameras]
    _show([*rows, *map(_status_row, running.values())], as_json)
    if status is None:
        click.echo("the daemon does not answer, so the state of the cameras is unknown", err=True)
    elif refused := status.configuration["collection"]:
        click.echo(f"change refused: {refused}", err=True)


@cameras.command()
@settings_option
@json_option
def status(settings_path: Path | None, as_json: bool) -> None:
    """Show the state of the cameras in the running daemon."""
    path = settings_path or settings_file.find()
    refused_parts = {"settings", "collection"}
    try:
        status = daemon_client.status(settings_file.load(path))
    except SettingsError as error:
        status = _status_with_invalid_settings(error, path)
        refused_parts.remove("settings")  # shown already
    except daemon_client.NoAnswerError as error:
        raise StartError(f"{error}; is the daemon running?") from error
    _show([_status_row(camera) for camera in status.cameras], as_json)
    for part, reason in status.configuration.items():
        if reason and part in refused_parts:
            click.echo(f"change refused: {reason}", err=True)


def _status_with_invalid_settings(error: SettingsError, path: Path) -> DaemonReport:
    """The status of a daemon that keeps its previous settings while the file is invalid.

    Raises:
        SettingsError: no daemon answers, or the file does not give its address.
    """
    settings = settings_file.http_alone(path)
    if settings is None:
        raise error
    try:
        status = daemon_client.status(settings)
    except daemon_client.NoAnswerError:
        raise error from None
    for problem in error.problems:
        click.echo(f"change refused: {problem}", err=True)
    click.echo(f"{daemon_client.base_url(settings)} keeps its previous settings", err=True)
    return status


@cameras.command("list")
@store_options()
def list_cameras(command: CommandContext) -> None:
    """List all cameras of settings.toml and the collection, including those of other boxes."""

    async def work(ctx: Context, user: Users.Model) -> list[dict[str, Any]]:
        return [dict(camera) for camera in await ctx.cameras.find(user, None, sort="id")]

    in_file = {camera.id for camera in command.settings.cameras}
    secrets = CameraSecrets(command.settings.data_dir)
    rows = [
        {**camera.model_dump(mode="json", exclude={"password", "secret_end"}), "source": "settings"}
        for camera in command.settings.cameras
    ]
    for document in read_rows(command, work):  # documents of other versions and programs may contain secrets
        overruled = {"overruled": True} if document["id"] in in_file else {}
        rows.append(
            {
                **without_store_fields(document),
                "source": "collection",
                **overruled,
                **_refusal(document, secrets),
            }
        )
    rows = [cast("dict[str, Any]", redact(row)) for row in rows]
    if command.as_json:
        click.echo(to_json(rows))
        return
    echo_table(
        [
            (
                row["id"],
                row["source"] + (" (overridden by settings.toml)" if row.get("overruled") else ""),
                "enabled" if row.get("enabled", True) else "disabled",
                row.get("detector") or "any box",
                row.get("url"),
                f"refused: {row['refused']}" if "refused" in row else "",
            )
            for row in rows
        ]
    )


def _refusal(document: Mapping[str, Any], secrets: CameraSecrets) -> dict[str, str]:
    """Why the daemon refuses the document, if it does. Secrets are ignored: another box may have them."""
    here = {key: value for key, value in document.items() if key not in SECRETS}
    try:
        read_camera(here, secrets)
    except SettingsError as error:
        return {"refused": "; ".join(error.problems)}
    return {}


def _row(camera: CameraSettings, status: CameraReport | None) -> dict[str, Any]:
    """A camera of settings.toml; `status` is None if the daemon does not run it."""
    configured = {"url": camera.masked_url, "source": "settings"}
    if status is not None:
        return {**_status_row(status), **configured}
    state, reason = ("unknown", "") if camera.enabled else ("grey", "disabled")
    unknown = {"state": state, "reason": reason, "detail": "", "hint": "", **dict.fromkeys(STATUS_FIELDS)}
    return {"id": camera.id, **unknown, **configured}


def _status_row(status: CameraReport) -> dict[str, Any]:
    shown = ("state", "reason", "detail", "hint", "url", "source", *STATUS_FIELDS)
    return {"id": status.cam_id, **{field: getattr(status, field) for field in shown}}


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(to_json(rows))
        return
    if not rows:
        click.echo("no cameras; add a [[cameras]] section to the settings, or use `facend cameras add`")
    for row in rows:
        click.echo(
            f"{row['id']:<20}  {row['state']:<8}  {row['reason']:<14}  {row['url']}"
            + "".join(f"  {detail}" for detail in _details(row))
        )


def _details(row: Mapping[str, Any]) -> list[str]:
    """Detail and hint of a camera's state, without the URL that precedes them."""
    texts = (row["detail"].removeprefix(f"{row['url']}: "), row["hint"])
    return [text for text in texts if text]


for change in (*cli_camera_changes.CHANGES, discover):
    cameras.add_command(change)

COMMANDS = (cameras,)
