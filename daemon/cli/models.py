"""`facend models`: lists and downloads model packs."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from daemon.cli.options import json_option, settings_option
from daemon.config import settings_file
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.model_loading import fetch_with_progress, models_folder
from daemon.runtime import logs
from pipeline.errors import ModelError
from pipeline.models.pack_files import Pack, is_present, known_packs, resolve
from pipeline.models.thresholds import MatchRate, Thresholds
from store.settings import PersonsSettings

SHOWN_PERSONS = (40, 1_000, 10_000, 40_000)
"""Numbers of persons for which the automatic threshold is printed."""


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
    rows = [_row(pack, folder, settings.models.pack, settings.persons) for pack in packs]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for pack, row in zip(packs, rows, strict=True):
        click.echo(_text(pack, row, settings.persons))


def _settings(settings_path: Path | None) -> Settings:
    """The settings, or the defaults if there is no settings file."""
    if settings_path is None:
        try:
            settings_path = settings_file.find()
        except StartError:
            return Settings()
    return settings_file.load(settings_path)


def _row(pack: Pack, folder: Path, chosen: str, persons: PersonsSettings) -> dict[str, object]:
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
        "match_rates": [
            {**asdict(rate), "false_match_rate": rate.false_match_rate} for rate in limits.match_rates
        ],
        "rates_measured_on": limits.rates_measured_on,
        "auto": {
            "fpir": persons.fpir,
            "thresholds": {number: limits.for_gallery(number, persons.fpir) for number in SHOWN_PERSONS},
        },
    }


def _text(pack: Pack, row: dict[str, object], persons: PersonsSettings) -> str:
    marks = [mark for mark, shown in (("in use", row["chosen"]), ("on disk", row["present"])) if shown]
    limits = pack.thresholds
    lines = [
        f"{row['name']}{'  (' + ', '.join(marks) + ')' if marks else ''}",
        f"  facen     {row['facen_size']} numbers",
        f"  licence   {row['licence']}",
    ]
    if row["research_only"]:
        lines.append("  WARNING   for research only: other uses need a licence from its authors")
    for name in ("strict", "medium", "low"):
        rate = limits.false_accept_rates.get(name)
        rated = f", false accepts: {rate}" if rate else ""
        lines.append(f"  {name:<8}  confidence {limits.named(name):.2f}{rated}")
    lines.append(f"  measured  {limits.measured_on}")
    return "\n".join([*lines, *_auto_lines(limits, persons.fpir), ""])


def _auto_lines(limits: Thresholds, fpir: float) -> list[str]:
    if not limits.match_rates:
        return ["  auto      the same as medium: no match rates were measured with this pack"]
    sizes = ", ".join(f"{limits.for_gallery(number, fpir):.3f} for {number:,}" for number in SHOWN_PERSONS)
    lines = [
        f"  auto      confidence by number of persons: {sizes}",
        f"            {fpir:.2%} of strangers are taken for a known person (FPIR), if visitors are as",
        "            different as the people of the measurement; beyond its rates it is extrapolated",
    ]
    lines += [f"            {_rate_text(rate)}" for rate in limits.match_rates]
    return [*lines, f"            measured on {limits.rates_measured_on}"]


def _rate_text(rate: MatchRate) -> str:
    low, high = rate.interval
    return (
        f"{rate.confidence:.4f}: false match rate {rate.false_match_rate:.1e} "
        f"(95 %: {low:.1e} to {high:.1e}), true match rate {rate.true_match_rate:.3f}"
    )


COMMANDS = (models,)
