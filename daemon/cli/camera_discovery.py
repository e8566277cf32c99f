"""`facend cameras discover`: finds ONVIF cameras, shows what they offer, and writes their entries."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import click

from cameras.errors import SourceError
from cameras.settings import CameraSettings
from cameras.source.discovery import find_devices
from cameras.source.onvif import OnvifCamera, clock_text, find_services, query_all
from daemon.cli import secrets as cli_secrets
from daemon.cli.context import CommandContext, store_options
from daemon.cli.options import password_option
from daemon.cli.output import to_json
from daemon.cli.store import read_rows, with_store
from daemon.config.camera_documents import to_document
from daemon.config.camera_secrets import CameraSecrets
from daemon.config.validation import validate_camera
from daemon.errors import StartError
from pipeline.base.control_characters import visible
from pipeline.base.redaction import redact_text
from pipeline.base.urls import split_url
from store import Context, Users

MAX_ID = 44


@dataclass(slots=True)
class Found:
    """A device that answered, with its description or the reason why there is none."""

    service: str
    camera: OnvifCamera | None = None
    error: str = ""
    known_as: str = ""
    """Id of the camera of the settings or the collection with this serial number or address."""
    known_in: str = ""
    """`settings` or `collection`."""
    moved_from: str = ""
    """The previous host of the known camera, if it has changed."""
    written: list[str] = field(default_factory=list)
    """Changes made to the collection."""


@click.command()
@store_options(user=False)
@click.option(
    "--address",
    "addresses",
    metavar="HOST",
    multiple=True,
    help="Ask this host (HOST, HOST:PORT or the URL of its ONVIF service) instead of searching. Repeatable.",
)
@click.option("--user", "login", metavar="NAME", default="", help="User name of the cameras.")
@password_option
@click.option(
    "--write",
    is_flag=True,
    help="Add new cameras to the collection, and update the address of known ones.",
)
def discover(
    command: CommandContext, addresses: tuple[str, ...], login: str, password_stdin: bool, write: bool
) -> None:
    """Find ONVIF cameras on the local networks.

    The search asks on every network interface, three times; cameras behind a router need --address. Shows
    each camera's streams with a recommendation, and the difference between its clock and that of this
    machine. Known cameras are recognised by their serial number, also under another address.
    """
    password = cli_secrets.read("password") if password_stdin else ""
    if password and not login:
        raise StartError("--password-stdin needs --user")
    found = asyncio.run(_devices(addresses, login, password))
    if not found:
        raise StartError(
            "no camera answered: enable ONVIF (and WS-Discovery) in the camera's settings, or name it with "
            "--address HOST"
        )
    _match(found, _known(command))
    if write:
        _write(command, found, login, password)
    if command.as_json:
        click.echo(to_json([_row(one) for one in found]))
    else:
        click.echo(visible("\n\n".join(_text(one, login) for one in found)))
    if all(one.camera is None for one in found):
        raise StartError("none of the devices answered the request")


async def _devices(addresses: Sequence[str], login: str, password: str) -> list[Found]:
    """The devices that answer, each by the first service that does, and the hosts that do not answer."""
    found: list[Found] = []
    groups: list[Sequence[str]] = []
    for host in addresses:
        try:
            groups.append(await find_services(host))
        except SourceError as error:
            found.append(Found(redact_text(host), error=str(error)))
    if not addresses:
        try:
            groups += await asyncio.to_thread(find_devices)
        except OSError as error:
            raise StartError(f"the search is not possible: {error}; use --address HOST") from error
    for group, answer in zip(groups, await query_all(groups, login, password), strict=True):
        if isinstance(answer, SourceError):
            found.append(Found(group[0], error=redact_text(str(answer))))
        else:
            found.append(Found(answer.service, answer))
    unique = {(one.camera.serial or one.service) if one.camera else one.service: one for one in found}
    return list(unique.values())


def _known(command: CommandContext) -> list[tuple[str, str, str, str]]:
    """Source, id, serial number and host of the cameras of the settings and the collection."""

    async def work(ctx: Context, user: Users.Model) -> list[Mapping[str, Any]]:
        return [dict(camera) for camera in await ctx.cameras.find(user, None, sort="id")]

    known = [("settings", one.id, one.serial, _host(one.url)) for one in command.settings.cameras]
    for document in read_rows(command, work):
        url, serial = document.get("url"), document.get("serial")
        if isinstance(url, str):
            known.append(("collection", str(document["id"]), str(serial or ""), _host(url)))
    return known


def _host(url: str) -> str:
    try:
        return urlsplit(split_url(url).public).hostname or ""
    except ValueError:
        return ""


def _match(found: Sequence[Found], known: Sequence[tuple[str, str, str, str]]) -> None:
    """Match each device with a camera of the settings or the collection, by serial number or else by host."""
    for one in found:
        if one.camera is None:
            continue
        host = urlsplit(one.service).hostname or ""
        same = [entry for entry in known if one.camera.serial and entry[2] == one.camera.serial]
        same = same or [entry for entry in known if not entry[2] and entry[3] == host]
        if same:
            one.known_in, one.known_as, _, before = same[0]
            one.moved_from = before if before != host else ""


def _write(command: CommandContext, found: Sequence[Found], login: str, password: str) -> None:
    secrets = CameraSecrets(command.settings.data_dir)

    async def work(ctx: Context, user: Users.Model) -> None:
        taken = {camera["id"] for camera in await ctx.cameras.find(user, None)}
        taken |= {camera.id for camera in command.settings.cameras}
        for one in found:
            if one.camera is None or one.known_in == "settings":
                continue
            if one.known_as:
                await _update(ctx, user, one)
            elif (entry := _entry(one.camera, taken, login, password)) is not None:
                await ctx.cameras.add(user, to_document(entry, secrets))
                taken.add(entry.id)
                one.written.append(f"added as {entry.id}: {entry.masked_url}")

    with_store(command, work)


async def _update(ctx: Context, user: Users.Model, one: Found) -> None:
    """Write serial number and host of a known camera of the collection; its path and port stay."""
    assert one.camera is not None  # noqa: S101  the caller's condition
    document = await ctx.cameras.find_one(user, {"id": one.known_as})
    if document is None:
        return
    changes: dict[str, str] = {}
    if one.camera.serial and document.get("serial") != one.camera.serial:
        changes["serial"] = one.camera.serial
    if one.moved_from:
        parts = urlsplit(document["url"])
        host = urlsplit(one.service).hostname or ""
        shown = f"[{host}]" if ":" in host else host
        netloc = f"{shown}:{parts.port}" if parts.port else shown
        changes["url"] = parts._replace(netloc=netloc).geturl()
    if changes:
        await ctx.cameras.update_one(user, {"id": one.known_as}, {"$set": changes})
        one.written += [f"{one.known_as}: {key} = {value}" for key, value in changes.items()]


def _entry(camera: OnvifCamera, taken: set[str], login: str, password: str) -> CameraSettings | None:
    best = camera.recommended
    if best is None:
        return None
    raw: dict[str, Any] = {
        "id": _free_id(camera, taken),
        "url": best.url,
        "name": f"{camera.manufacturer} {camera.model}".strip(),
        "serial": camera.serial,
    }
    if login:
        raw |= {"user": login, **({"password": password} if password else {})}
    return validate_camera(raw, f"the camera at {camera.service}")


def _free_id(camera: OnvifCamera, taken: set[str]) -> str:
    """An id of model and serial number that is not taken."""
    name = f"{camera.model or 'camera'}-{camera.serial[-6:]}" if camera.serial else camera.model or "camera"
    wanted = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-").lower()[: MAX_ID - 4] or "camera"
    numbered = (wanted if number == 1 else f"{wanted}-{number}" for number in range(1, len(taken) + 2))
    return next(one for one in numbered if one not in taken)


def _row(one: Found) -> dict[str, Any]:
    camera = one.camera
    row: dict[str, Any] = {
        "service": one.service,
        "error": one.error,
        "known_as": one.known_as,
        "moved_from": one.moved_from,
        "written": one.written,
    }
    if camera is None:
        return row
    best = camera.recommended
    recommended = best.name if best else None
    return {**row, **asdict(camera), "recommended": recommended, "advice": list(camera.advice)}


def _text(one: Found, login: str) -> str:
    camera = one.camera
    if camera is None:
        return f"{one.service}\n  {one.error.removeprefix(f'{one.service}: ')}"
    best = camera.recommended
    lines = [
        f"{camera.manufacturer} {camera.model}, serial number {camera.serial or 'not reported'}",
        f"  service    {one.service}",
        f"  firmware   {camera.firmware}",
        f"  clock      {clock_text(camera.clock_ahead_seconds)}",
    ]
    for profile in camera.profiles:
        mark = "  <- recommended" if profile is best else ""
        lines += [f"  stream     {profile.name}: {profile.description}{mark}", f"             {profile.url}"]
    lines += [f"  advice     {text}" for text in camera.advice]
    if one.known_as:
        moved = f"; it moved from {one.moved_from}" if one.moved_from else ""
        remedy = {
            "settings": "; change its url in settings.toml",
            "collection": "" if one.written else "; --write updates its entry",
        }[one.known_in]
        lines.append(f"  known as   {one.known_as} ({one.known_in}){moved}{remedy if moved else ''}")
    lines += [f"  written    {text}" for text in one.written]
    if best is not None and not one.known_as and not one.written:
        entry = _entry(camera, set(), login, "")
        assert entry is not None  # noqa: S101  it has a recommended stream
        lines += [
            "  entry for settings.toml, unless --write adds it to the collection:",
            *_toml(entry, login),
        ]
    return "\n".join(lines)


def _toml(entry: CameraSettings, login: str) -> list[str]:
    """The entry as lines of settings.toml; a JSON string is a TOML string."""
    values = {"id": entry.id, "url": entry.url, "name": entry.name, "serial": entry.serial}
    lines = [f"    {key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value]
    secret = (
        [f"    user = {json.dumps(login)}", f'    password = "${{credential:{entry.id}}}"'] if login else []
    )
    return ["    [[cameras]]", *lines, *secret]
