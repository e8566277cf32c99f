"""`facend doctor`: checks the box and the consistency of the stored data, and repairs it."""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.output import to_json
from daemon.cli.store import NothingStoredError, read_all, read_store, with_store
from daemon.doctor import Check, check_box
from daemon.errors import StartError
from daemon.http import client as daemon_client
from daemon.http.client import NoAnswerError
from daemon.model_loading import pack_in_settings
from daemon.runtime import data_folder
from store import Context, Users
from store.upkeep.doctor.doctor import GRACE, Doctor
from store.upkeep.doctor.findings import Finding, FindingKind

SHOWN = 10
"""Maximum number of findings of a kind that are listed individually."""


@click.command()
@store_options(user=False)
@click.option("--repair", is_flag=True, help="Repair what can be repaired.")
@click.option(
    "--force",
    is_flag=True,
    help="With --repair: repair even if the number of pictures that are missing or have no face points to "
    "an unmounted disk or a wrong database; and treat pictures at an unknown location as this box's.",
)
@click.option(
    "--grace-minutes",
    type=click.FloatRange(min=0),
    default=GRACE.total_seconds() / 60,
    show_default=True,
    help="Ignore younger data, which may not be completely stored.",
)
def doctor(command: CommandContext, repair: bool, force: bool, grace_minutes: float) -> None:
    """Check this box and the stored data for problems.

    Compares MongoDB, facen storage and uploads. Exit status 1 if a problem remains.
    """
    if force and not repair:
        raise StartError("--force requires --repair")
    checks, findings = [], []
    for check in check_box(command.settings, repair=repair):
        checks.append(check)
        if not command.as_json:
            mark = "BAD" if check.state == "bad" else check.state
            click.echo(f"{mark:<8}  {check.name}: {check.detail}")
    error_text = ""
    try:
        findings = _findings(command, repair, force, timedelta(minutes=grace_minutes))
    except StartError as error:
        error_text = str(error) if str(error).startswith("store: ") else f"store: {error}"
    left = [finding for finding in findings if not finding.repaired and not finding.kind.is_note]
    wrong = bool(error_text or left or any(check.state == "bad" for check in checks))
    if command.as_json:
        click.echo(to_json(_report(checks, findings, error_text, wrong)))
    else:
        click.echo(f"BAD       {error_text}" if error_text else _text(findings, grace_minutes))
        if left and not repair:
            click.echo("`facend doctor --repair` repairs this")
        if repair and any(finding.kind == FindingKind.REFUSED for finding in findings):
            click.echo("`facend doctor --repair --force` repairs it regardless")
    sys.exit(1 if wrong else 0)


def _findings(command: CommandContext, repair: bool, force: bool, grace: timedelta) -> list[Finding]:
    """Findings of the running daemon, or of this process if none runs."""
    settings = command.settings
    if data_folder.is_held(settings.data_dir):
        token = read_store(command, _own_token)
        findings = daemon_client.findings(
            settings, token, repair=repair, force=force, grace_seconds=grace.total_seconds()
        )
        try:
            return list(findings)
        except NoAnswerError as error:
            raise StartError(f"store: not checked, {error}") from error

    async def work(ctx: Context) -> list[Finding]:
        return [finding async for finding in Doctor(ctx, grace).findings(repair=repair, force=force)]

    pack = pack_in_settings(command.settings)
    size, name = (pack.facen_size, pack.name) if pack else (None, None)
    if repair:
        return with_store(command, lambda ctx, _: work(ctx), facen_size=size, pack=name, load_facens=True)
    try:
        return read_all(command, work, facen_size=size, pack=name, load_facens=True)
    except NothingStoredError:
        return []


async def _own_token(_: Context, user: Users.Model) -> str:
    return str(user["token"])


def _text(findings: Iterable[Finding], grace_minutes: float) -> str:
    """Each kind of finding with its number and the first few findings."""
    kinds: dict[FindingKind, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    lines = []
    if all(kind.is_note for kind in kinds):
        ignored = f"; anything younger than {grace_minutes:g} min was ignored" if grace_minutes else ""
        lines.append(f"good      store: MongoDB, facen storage and uploads are consistent{ignored}")
    for kind, found in kinds.items():
        repaired = sum(bool(finding.repaired) for finding in found)
        mark = "not seen" if kind.is_note else "repaired" if repaired == len(found) else "BAD     "
        lines.append(f"{mark}  store: {len(found)} × {kind}{f', {repaired} repaired' if repaired else ''}")
        for finding in found[:SHOWN]:
            text = ": ".join(filter(None, (finding.subject, finding.detail)))
            lines.append(f"            {text}{f' → {finding.repaired}' if finding.repaired else ''}")
        if len(found) > SHOWN:
            lines.append(f"            and {len(found) - SHOWN} more; --json shows all")
    return "\n".join(lines)


def _report(checks: list[Check], findings: list[Finding], trouble: str, wrong: bool) -> dict[str, object]:
    return {
        "wrong": wrong,
        "box": [asdict(check) for check in checks],
        "store": {
            "trouble": trouble,
            "found": Counter(str(finding.kind) for finding in findings),
            "repaired": sum(bool(finding.repaired) for finding in findings),
            "findings": [finding.as_json() for finding in findings],
        },
    }


COMMANDS = (doctor,)
