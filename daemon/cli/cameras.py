"""`facend cameras`: which cameras there are, and how they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click

from cameras.settings import CameraSettings
from daemon.cli import camera_changes as cli_camera_changes
from daemon.cli.options import json_option, settings_option
from daemon.cli.store import Asked, echo_table, read_rows, store_options
from daemon.cli.store import as_json as json_of
from daemon.config import file as settings_file
from daemon.config.camera_documents import SECRETS, camera_of, plain
from daemon.config.camera_secrets import CameraSecrets
from daemon.errors import SettingsError, StartError
from daemon.http import client as daemon_client
from pipeline.base.redaction import redact
from store import Context, Users

SHOWN_OF_STATUS = ("since", "codec", "width", "height", "fps", "frames_decoded")


@click.group(invoke_without_command=True)
@settings_option
@json_option
@click.pass_context
def cameras(context: click.Context, settings_path: Path | None, as_json: bool) -> None:
    """The cameras, and how they are if the daemon runs.

    Those of settings.toml are changed there, those of MongoDB's collection by add, edit, disable and
    remove. A running daemon takes up either within seconds.
    """
    if context.invoked_subcommand is not None:
        if settings_path or as_json:
            raise click.UsageError("--settings and --json stand after the subcommand")
        return
    path = settings_path or settings_file.find()
    try:
        settings = settings_file.load(path)
    except SettingsError as error:
        _show([_status_row(one) for one in _status_despite(error, path)["cameras"]], as_json)
        return
    refused = ""
    try:
        told = daemon_client.status(settings)
        running = {one["cam_id"]: one for one in told["cameras"]}
        refused = told["configuration"]["collection"]
    except daemon_client.NoAnswerError:
        running = None
    known = [_row(camera, (running or {}).get(camera.id, {})) for camera in settings.cameras]
    ids = {camera.id for camera in settings.cameras}
    _show(
        [*known, *(_status_row(one) for cam_id, one in (running or {}).items() if cam_id not in ids)], as_json
    )
    if refused:
        click.echo(f"a change is refused: {refused}", err=True)
    if running is None:
        click.echo("the daemon does not answer, so nothing is known about their state", err=True)


@cameras.command()
@settings_option
@json_option
def status(settings_path: Path | None, as_json: bool) -> None:
    """How the cameras are, in the words of the running daemon."""
    path = settings_path or settings_file.find()
    try:
        told = daemon_client.status(settings_file.load(path))
    except SettingsError as error:
        told = _status_despite(error, path)
        told["configuration"].pop("settings", None)  # that is the error
    except daemon_client.NoAnswerError as error:
        raise StartError(f"{error}; does the daemon run?") from error
    _show([_status_row(one) for one in told["cameras"]], as_json)
    for reason in told["configuration"].values():
        if reason:
            click.echo(f"a change is refused: {reason}", err=True)


def _status_despite(error: SettingsError, path: Path) -> dict[str, Any]:
    """What the daemon says, which goes on with the settings from before the file was at fault.

    The error itself where no daemon answers, or the file does not tell where to ask.
    """
    settings = settings_file.http_alone(path)
    if settings is None:
        raise error
    try:
        told = daemon_client.status(settings)
    except daemon_client.NoAnswerError:
        raise error from None
    for problem in error.problems:
        click.echo(f"a change is refused: {problem}", err=True)
    click.echo(f"{daemon_client.base_url(settings)} goes on with the settings from before", err=True)
    return told


@cameras.command("list")
@store_options()
def list_cameras(asked: Asked) -> None:
    """Every camera of settings.toml and of the collection, also those that other boxes read."""

    async def work(ctx: Context, user: Users.Model) -> list[dict[str, Any]]:
        return [dict(camera) for camera in await ctx.cameras.find(user, None, sort="id")]

    in_file = {camera.id for camera in asked.settings.cameras}
    secrets = CameraSecrets(asked.settings.data_dir)
    rows = [
        {**camera.model_dump(mode="json", exclude={"password", "secret_end"}), "source": "settings"}
        for camera in asked.settings.cameras
    ]
    for document in read_rows(asked, work):  # those of other versions and programs may hold secrets
        overruled = {"overruled": True} if document["id"] in in_file else {}
        rows.append({**plain(document), "source": "collection", **overruled, **_refusal(document, secrets)})
    rows = [cast("dict[str, Any]", redact(row)) for row in rows]
    if asked.as_json:
        click.echo(json_of(rows))
        return
    echo_table(
        [
            (
                row["id"],
                row["source"] + (" (settings.toml decides)" if row.get("overruled") else ""),
                "enabled" if row.get("enabled", True) else "disabled",
                row.get("detector") or "any box",
                row.get("url"),
                f"refused: {row['refused']}" if "refused" in row else "",
            )
            for row in rows
        ]
    )


def _refusal(document: Mapping[str, Any], secrets: CameraSecrets) -> dict[str, str]:
    """Why the daemon does not take the document, where it does not. Another box may have its secrets."""
    here = {key: value for key, value in document.items() if key not in SECRETS}
    try:
        camera_of(here, secrets)
    except SettingsError as error:
        return {"refused": "; ".join(error.problems)}
    return {}


def _row(camera: CameraSettings, known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": camera.id,
        "state": known.get("state", "grey" if not camera.enabled else "unknown"),
        "reason": known.get("reason", "disabled" if not camera.enabled else ""),
        "detail": known.get("detail", ""),
        "hint": known.get("hint", ""),
        "url": camera.masked_url,
        "source": "settings",
        **{key: known.get(key) for key in SHOWN_OF_STATUS},
    }


def _status_row(known: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("state", "reason", "detail", "hint", "url", "source", *SHOWN_OF_STATUS)
    return {"id": known["cam_id"], **{key: known.get(key) for key in shown}}


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json_of(rows))
        return
    if not rows:
        click.echo("no cameras; add a [[cameras]] section to the settings, or say `facend cameras add`")
    for row in rows:
        click.echo(
            f"{row['id']:<20}  {row['state']:<8}  {row['reason']:<14}  {row['url']}"
            + "".join(f"  {said}" for said in _sentences(row))
        )


def _sentences(row: Mapping[str, Any]) -> list[str]:
    """What there is to say of a camera, without its URL, which stands before that already."""
    said = (row["detail"].removeprefix(f"{row['url']}: "), row["hint"])
    return [sentence for sentence in said if sentence]


for change in cli_camera_changes.CHANGES:
    cameras.add_command(change)

COMMANDS = (cameras,)
