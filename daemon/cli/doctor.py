"""`facend doctor`: a first look when something is wrong, and mending what no longer agrees."""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta

import click

from daemon.cli.store import (
    Asked,
    NothingStoredError,
    as_json,
    read_all,
    read_store,
    store_options,
    with_store,
)
from daemon.doctor import box as box_checks
from daemon.doctor.finding import Check
from daemon.errors import StartError
from daemon.http import client as daemon_client
from daemon.http.client import NoAnswerError
from daemon.models import pack_in_settings
from daemon.runtime import data_folder
from store import Context, Users
from store.upkeep.doctor.doctor import GRACE, Doctor
from store.upkeep.doctor.findings import Finding, Kind

SHOWN = 10
"""So many findings of a kind are shown one by one."""


@click.command()
@store_options(user=False)
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@click.option(
    "--force",
    is_flag=True,
    help="With --repair: mend also where so many pictures are missing, or have no face, that a disk that is "
    "not mounted or a wrong database is more likely; and treat pictures at an unknown place as this box's.",
)
@click.option(
    "--grace-minutes",
    type=click.FloatRange(min=0),
    default=GRACE.total_seconds() / 60,
    show_default=True,
    help="What is younger is left alone: it may be on its way.",
)
def doctor(asked: Asked, repair: bool, force: bool, grace_minutes: float) -> None:
    """Look at the box, and whether everything stored agrees. Exit status 1 where something stays wrong."""
    if force and not repair:
        raise StartError("--force goes with --repair")
    checks, findings = [], []
    for check in box_checks.look(asked.settings, repair=repair):
        checks.append(check)
        if not asked.as_json:
            mark = "BAD" if check.state == "bad" else check.state
            click.echo(f"{mark:<8}  {check.name}: {check.detail}")
    trouble = ""
    try:
        findings = _findings(asked, repair, force, timedelta(minutes=grace_minutes))
    except StartError as error:
        trouble = str(error) if str(error).startswith("store: ") else f"store: {error}"
    left = [finding for finding in findings if not finding.repaired and not finding.kind.is_note]
    wrong = bool(trouble or left or any(check.state == "bad" for check in checks))
    if asked.as_json:
        click.echo(as_json(_report(checks, findings, trouble, wrong)))
    else:
        click.echo(f"BAD       {trouble}" if trouble else _text(findings, grace_minutes))
        if left and not repair:
            click.echo("`facend doctor --repair` mends this")
        if repair and any(finding.kind == Kind.REFUSED for finding in findings):
            click.echo("`facend doctor --repair --force` does it all the same")
    sys.exit(1 if wrong else 0)


def _findings(asked: Asked, repair: bool, force: bool, grace: timedelta) -> list[Finding]:
    """The daemon's own, where it runs; else those of a look at the store without it."""
    settings = asked.settings
    if data_folder.is_held(settings.data_dir):
        token = read_store(asked, _own_token)
        asking = daemon_client.findings(
            settings, token, repair=repair, force=force, grace_seconds=grace.total_seconds()
        )
        try:
            return list(asking)
        except NoAnswerError as error:
            raise StartError(f"store: not checked, {error}") from error

    async def work(ctx: Context) -> list[Finding]:
        return [finding async for finding in Doctor(ctx, grace).findings(repair=repair, force=force)]

    pack = pack_in_settings(asked.settings)
    size, name = (pack.facen_size, pack.name) if pack else (None, None)
    if repair:
        return with_store(asked, lambda ctx, _: work(ctx), facen_size=size, pack=name, fill=True)
    try:
        return read_all(asked, work, facen_size=size, pack=name, fill=True)
    except NothingStoredError:
        return []


async def _own_token(_: Context, user: Users.Model) -> str:
    return str(user["token"])


def _text(findings: Iterable[Finding], grace_minutes: float) -> str:
    """Each kind with its number, and the first few of it."""
    kinds: dict[Kind, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    lines = []
    if all(kind.is_note for kind in kinds):
        spared = f"; what is younger than {grace_minutes:g} minutes was left alone" if grace_minutes else ""
        lines.append(f"good      store: MongoDB, facen storage and uploads agree{spared}")
    for kind, found in kinds.items():
        repaired = sum(bool(finding.repaired) for finding in found)
        mark = "not seen" if kind.is_note else "repaired" if repaired == len(found) else "BAD     "
        lines.append(f"{mark}  store: {len(found)} × {kind}{f', {repaired} repaired' if repaired else ''}")
        for finding in found[:SHOWN]:
            told = ": ".join(filter(None, (finding.subject, finding.detail)))
            lines.append(f"            {told}{f' → {finding.repaired}' if finding.repaired else ''}")
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
