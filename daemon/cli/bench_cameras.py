"""`facend bench cameras`: how many cameras this machine can process."""

import math
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from cameras.errors import ClipError
from daemon.benchmarks.camera_clips import Clip, hall_clip, playing, user_clip
from daemon.benchmarks.camera_reference import PersonIndex, naive_loop, visits_in
from daemon.benchmarks.camera_runs import Plan, Run, decoding_limit
from daemon.benchmarks.cameras import curves, keeps_up, rising, run_rows, sum_rows
from daemon.benchmarks.measurements import Row, table
from daemon.cli.context import settings_or_defaults
from daemon.cli.options import json_option, settings_option
from daemon.cli.output import to_json
from daemon.config.settings import Settings
from daemon.demo.clip import DemoClipError
from daemon.errors import StartError
from daemon.evaluation.plot import Plot, linear_axis
from daemon.model_loading import load_models, models_folder
from daemon.runtime import logs
from daemon.runtime.terminal import count
from pipeline.models import loader

LIMIT_SECONDS = 5.0


@click.command("cameras")
@settings_option
@json_option
@click.option(
    "--clip",
    "clips",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Clip to play; may be repeated. Default: a generated clip of a hall.",
)
@click.option(
    "--busy",
    type=click.FloatRange(0, 0.7),
    default=0.1,
    show_default=True,
    help="Share of the time with a person in view, in the generated clip.",
)
@click.option(
    "--decode",
    type=click.Choice(["all", "keyframes"]),
    default="all",
    show_default=True,
    help="The decode setting of the cameras.",
)
@click.option(
    "--seconds", type=click.FloatRange(1), default=30, show_default=True, help="Duration of each step."
)
@click.option(
    "--from", "first", type=click.IntRange(1), default=2, show_default=True, help="Cameras in the first step."
)
@click.option(
    "--to", "most", type=click.IntRange(1), default=256, show_default=True, help="Maximum number of cameras."
)
@click.option(
    "--steps", type=click.IntRange(1), default=10, show_default=True, help="Maximum number of steps."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the cost by number of cameras as a PNG file.",
)
def cameras(
    settings_path: Path | None,
    as_json: bool,
    clips: tuple[Path, ...],
    busy: float,
    decode: str,
    seconds: float,
    first: int,
    most: int,
    steps: int,
    plot: Path | None,
) -> None:
    """Measure how many cameras the daemon can process, and the cost of each.

    Clips play in real time, each camera from another position, through the whole daemon with a private
    MongoDB. The number of cameras rises until the daemon falls behind. The baselines are decoding alone, and
    a naive loop that analyses every frame.
    """
    settings = settings_or_defaults(settings_path)
    logs.configure("console", "warning")
    with tempfile.TemporaryDirectory(prefix="facend-") as scratch:
        folder = Path(scratch)
        try:
            shown = [user_clip(path) for path in clips] or [hall_clip(folder / "hall.mp4", busy)]
            rows, runs, lines = _measure(
                settings, shown, folder, _Options(decode, seconds, first, most, steps)
            )
        except (ClipError, DemoClipError) as error:
            raise StartError(f"clip: {error}") from error
    click.echo(to_json([asdict(row) for row in rows]) if as_json else table(rows))
    if plot is not None:
        _draw(runs, lines, plot)


@dataclass(frozen=True, slots=True)
class _Options:
    decode: str
    seconds: float
    first: int
    most: int
    steps: int


Lines = list[tuple[str, list[float], list[float]]]


def _measure(
    settings: Settings, clips: list[Clip], folder: Path, options: _Options
) -> tuple[list[Row], list[Run], Lines]:
    cores = os.cpu_count() or 1
    limit = decoding_limit(clips[0].path, cores, LIMIT_SECONDS)
    models = load_models(settings)
    people = PersonIndex(models.pack.thresholds.medium)
    visits = {clip.path: visits_in(clip, models, settings.pipeline, people) for clip in clips}
    pack = models.pack
    naive = naive_loop(
        clips[0].path, loader.load(pack, models_folder(settings), cores), settings.pipeline.detect_size
    )
    given = settings.models.model_copy(update={"folder": models_folder(settings)})
    interval = limit.frames / limit.key_frames / clips[0].fps
    plan = Plan(
        playing(clips, folder),
        options.seconds,
        {"posting": "realtime", "decode": options.decode},
        given.model_dump(mode="json", exclude_none=True),
        interval if options.decode == "keyframes" else 0.0,
    )
    sustained, runs = rising(
        plan, options.first, options.most, options.steps, lambda run: _echo_run(run, plan)
    )
    rows = [*sum_rows(sustained, limit.frames / limit.seconds, naive, clips[0])]
    for run in runs:
        rows += run_rows(run, plan, visits, runs[0])
    return rows, runs, list(curves(runs, naive, clips[0]))


def _echo_run(run: Run, plan: Plan) -> None:
    """Report progress on stderr; stdout is for the results."""
    verdict = "keeps up" if keeps_up(run, plan) else "falls behind"
    click.echo(f"{count(run.cameras, 'camera')}: {run.cores:.2f} cores, {verdict}", err=True)


def _draw(runs: list[Run], lines: Lines, path: Path) -> None:
    if len(runs) < 2:
        raise StartError("--plot needs at least two steps")
    most_cameras = max(run.cameras for run in runs)
    most_cores = math.ceil(max(run.cores for run in runs))
    step = max(1, most_cameras // 8)
    x = linear_axis("cameras", 0, math.ceil(most_cameras / step) * step, step)
    plot = Plot("Cost over the number of cameras", x, linear_axis("cores", 0, most_cores, most_cores / 4))
    for name, xs, ys in lines:
        plot.line(name, xs, ys)
    plot.png("bottom right").save(path)


COMMANDS = (cameras,)
