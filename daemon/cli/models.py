"""`facend models`: lists and downloads model packs."""

import json
from pathlib import Path

import click

from daemon.cli.options import json_option, settings_option
from daemon.config import file as settings_file
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.models import fetch_with_progress, models_folder
from daemon.runtime import logs
from pipeline.errors import ModelError
from pipeline.models.files import Pack, is_present, known_packs, resolve


@click.command()
@settings_option
@json_option
@click.option("--fetch", "wanted", metavar="PACK", help="Download the files of this pack now.")
def models(settings_path: Path | None, as_json: bool, wanted: str | None) -> None:
    """List the model packs, with licence and thresholds."""
    settings = _settings(settings_path)
    folder = models_folder(settings)
    logs.configure(settings.log_format, settings.log_level)
    try:
        if wanted:
            fetch_with_progress(resolve(wanted, folder), folder, settings.models.sources)
        packs = list(known_packs())
        if settings.models.pack not in [pack.name for pack in packs]:
            packs.append(resolve(settings.models.pack, folder))
    except ModelError as error:
        raise StartError(f"models: {error}") from error
    rows = [_row(pack, folder, settings.models.pack) for pack in packs]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        click.echo(_text(row))


def _settings(settings_path: Path | None) -> Settings:
    """The settings, or the defaults if there is no settings file yet."""
    if settings_path is None:
        try:
            settings_path = settings_file.find()
        except StartError:
            return Settings()
    return settings_file.load(settings_path)


def _row(pack: Pack, folder: Path, chosen: str) -> dict[str, object]:
    limits = pack.thresholds
    return {
        "name": pack.name,
        "chosen": chosen in (pack.name, str(pack.directory)),
        "present": is_present(pack, folder),
        "facen_size": pack.facen_size,
        "licence": pack.licence,
        "research_only": pack.research_only,
        "thresholds": {"strict": limits.strict, "medium": limits.medium, "low": limits.low},
        "false_accept_rates": dict(limits.false_accept_rates),
        "measured_on": limits.measured_on,
    }


def _text(row: dict[str, object]) -> str:
    marks = [mark for mark, shown in (("in use", row["chosen"]), ("on disk", row["present"])) if shown]
    thresholds, rates = row["thresholds"], row["false_accept_rates"]
    lines = [
        f"{row['name']}{'  (' + ', '.join(marks) + ')' if marks else ''}",
        f"  facen     {row['facen_size']} numbers",
        f"  licence   {row['licence']}",
    ]
    if row["research_only"]:
        lines.append("  WARNING   for research only: other uses need a licence from its authors")
    if isinstance(thresholds, dict) and isinstance(rates, dict):
        lines += [
            f"  {name:<8}  confidence {value:.2f}"
            + (f", false accepts: {rates[name]}" if name in rates else "")
            for name, value in thresholds.items()
        ]
    return "\n".join([*lines, f"  measured  {row['measured_on']}", ""])


COMMANDS = (models,)
