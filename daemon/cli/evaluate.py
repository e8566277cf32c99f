"""`facend evaluate`: recognition accuracy on scenes, pairs and galleries."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from daemon.cli.context import settings_or_defaults
from daemon.cli.groups import CommandGroup
from daemon.cli.options import folder_argument, json_option, settings_option
from daemon.cli.output import echo_table, progress, to_json
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.evaluation import identify as identification
from daemon.evaluation import pairs as pairs_protocol
from daemon.evaluation.contact_sheet import write_sheet
from daemon.evaluation.faces import (
    FaceFinder,
    facend_finder,
    labelled_faces,
    missing_face_lines,
    thresholds_of,
)
from daemon.evaluation.inputs import labelled_pictures
from daemon.evaluation.opencv_faces import opencv_finder
from daemon.evaluation.scene import ScenePlan, play
from daemon.evaluation.scene_scores import SceneScores, identities_of_persons, score
from daemon.evaluation.truth import clips_of, read_junk, read_truth
from daemon.model_loading import fetch_with_progress, load_models, models_folder
from daemon.runtime.terminal import count
from pipeline.errors import ModelError
from pipeline.extractor import FaceExtractor
from pipeline.models.pack_files import resolve
from pipeline.visits.best_shot import Posting


@click.group(cls=CommandGroup)
def evaluate() -> None:
    """Measure recognition accuracy."""


@evaluate.command()
@settings_option
@json_option
@click.argument("folder", metavar="DIR", type=folder_argument)
@click.option(
    "--keep", type=folder_argument, help="Keep the data in this folder, which must be empty or new."
)
@click.option(
    "--posting",
    type=click.Choice([mode.value for mode in Posting]),
    default="overall",
    show_default=True,
    help="Which shots of a visit are stored, as in the setting of a camera.",
)
@click.option(
    "--min-face",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Ignore visits whose face stays smaller than this, in pixels.",
)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a contact sheet with every stored face, by person, to this PNG file.",
)
def scene(
    settings_path: Path | None,
    as_json: bool,
    folder: Path,
    keep: Path | None,
    posting: str,
    min_face: float,
    sheet: Path | None,
) -> None:
    """Play the clips in DIR through the daemon and score the result against DIR/truth.json.

    Clips play at full speed and in lockstep, so that the same clips and settings give the same persons. All
    cameras share their persons. DIR/junk.json may list detections that are not recognisable faces.
    """
    settings = settings_or_defaults(settings_path)
    truth, junk = read_truth(folder), read_junk(folder)
    clips = clips_of(folder, truth)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="facend-") as scratch:
        plan = ScenePlan(clips, keep or Path(scratch) / "data", Posting(posting))
        with progress(math.ceil(truth.seconds), f"playing {count(len(clips), 'clip')}") as step:
            done = 0

            def show(media_time: float) -> None:
                nonlocal done
                if int(media_time) > done:
                    step(int(media_time) - done)
                    done = int(media_time)

            faces = play(settings, plan, show)
        scores = score(truth, faces, min_face, junk)
        if sheet is not None:
            write_sheet(sheet, faces, identities_of_persons(truth, faces, junk))
    seconds = time.monotonic() - began
    if as_json:
        click.echo(to_json({**_rounded(scores), "seconds_of_video": truth.seconds, "seconds_taken": seconds}))
        return
    echo_table([(name.replace("_", " "), value) for name, value in _rounded(scores).items()])
    click.echo(f"{truth.seconds:.0f} s of {count(len(clips), 'camera')} in {seconds:.0f} s")


@evaluate.command()
@settings_option
@json_option
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("folder", metavar="DIR", type=folder_argument)
@click.option("--opencv", is_flag=True, help="Also evaluate OpenCV's detector and recogniser.")
def pairs(settings_path: Path | None, as_json: bool, file: Path, folder: Path, opencv: bool) -> None:
    """Verify the pairs of pictures listed in FILE.

    FILE has the format of LFW's pairs.txt, with pictures in DIR. The most central face of a picture counts;
    a pair with an undetected face counts as not matched.
    """
    settings = settings_or_defaults(settings_path)
    wanted = pairs_protocol.read_pairs(file, folder)
    models = load_models(settings)
    max_pixels = settings.pipeline.max_pixels
    finders = {"facend": facend_finder(FaceExtractor(models, max_pixels), max_pixels)}
    if opencv:
        finders["opencv"] = _opencv(settings)
    number = len({path for pair in wanted for path in (pair.one, pair.other)})
    reports = {}
    for name, find in finders.items():
        with progress(number, name) as step:
            reports[name] = _pair_report(pairs_protocol.evaluate(wanted, find, step))
    if as_json:
        click.echo(to_json(reports))
        return
    keys = [key for key in reports["facend"] if key != "without_face"]
    echo_table([("", *reports), *((key, *(_short(reports[name][key]) for name in reports)) for key in keys)])
    for name, report in reports.items():
        _list(f"no face, or no picture ({name})", report["without_face"])
    if opencv:
        points = 100 * (float(str(reports["facend"]["accuracy"])) - float(str(reports["opencv"]["accuracy"])))
        click.echo(f"accuracy compared with OpenCV's own: {points:+.2f} percentage points")


@evaluate.command()
@settings_option
@json_option
@click.argument("gallery", metavar="GALLERY", type=folder_argument)
@click.argument("probes", metavar="PROBES", type=folder_argument)
@click.option(
    "--leave-out",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    help="Treat this share of GALLERY's people as strangers, for an open set without other pictures.",
)
def identify(
    settings_path: Path | None, as_json: bool, gallery: Path, probes: Path, leave_out: float
) -> None:
    """Identify the people of PROBES among those of GALLERY.

    Both are folders of people: a sub-folder for each person, or files NAME_VARIANT.jpg. People of PROBES who
    are not in GALLERY form the open set.
    """
    settings = settings_or_defaults(settings_path)
    folders = labelled_pictures(gallery), labelled_pictures(probes)
    models = load_models(settings)
    faces = []
    for pictures, label in zip(folders, ("gallery", "probes"), strict=True):
        with progress(len(pictures), label) as step:
            faces.append(labelled_faces(pictures, models, settings, step))
    gallery_faces, probe_faces = identification.leave_out(faces[0], leave_out), faces[1]
    named = thresholds_of(models, settings, len({face.person for face in gallery_faces}))
    scores = identification.evaluate(gallery_faces, probe_faces, named)
    if as_json:
        click.echo(
            to_json({**asdict(scores), "without_face": missing_face_lines([*gallery_faces, *probe_faces])})
        )
        return
    _echo_identify(scores)
    _list("no face, or no picture", missing_face_lines([*gallery_faces, *probe_faces]))


def _rounded(scores: SceneScores) -> dict[str, object]:
    digits = {"faces_per_visit": 2, "seconds_to_first_face": 2}
    return {
        name: round(value, digits.get(name, 4)) if isinstance(value, float) else value
        for name, value in asdict(scores).items()
    }


def _opencv(settings: Settings) -> FaceFinder:
    folder = models_folder(settings)
    try:
        pack = resolve("opencv-zoo", folder)
        fetch_with_progress(pack, folder, settings.models.sources)
    except ModelError as error:
        raise StartError(f"models: {error}") from error
    yunet, sface = (folder / pack.name / file.name for file in pack.files)
    return opencv_finder(yunet, sface, settings.pipeline.max_pixels)


def _pair_report(scores: pairs_protocol.PairScores) -> dict[str, object]:
    one, tenth = scores.at_far
    return {
        "accuracy": scores.accuracy.mean,
        "standard_error": scores.accuracy.standard_error,
        "threshold": sum(scores.accuracy.thresholds) / len(scores.accuracy.thresholds),
        "tar_at_far_1e-2": one.tar,
        "tar_at_far_1e-3": tenth.tar,
        "auc": scores.curve.auc,
        "eer": scores.curve.eer,
        "genuine_pairs": scores.genuines,
        "impostor_pairs": scores.impostors,
        "pictures": scores.pictures,
        "failed_to_detect": len(scores.pictures_without_face),
        "pairs_without_face": scores.pairs_without_face,
        "seconds": scores.seconds,
        "without_face": [str(path) for path in scores.pictures_without_face],
    }


def _short(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value


def _echo_identify(scores: identification.IdentifyScores) -> None:
    click.echo(
        f"gallery: {count(scores.people, 'person', 'people')}, {count(scores.gallery_pictures, 'picture')}, "
        f"{scores.gallery_without_face} without a face"
    )
    click.echo(
        f"probes: {scores.known} of people in the gallery, {scores.unknown} of strangers, "
        f"{scores.probes_without_face} without a face"
    )
    if scores.known:
        for name, hits in (("rank 1", scores.rank1), ("rank 5", scores.rank5)):
            click.echo(f"{name}: {hits / scores.known:.4f} ({hits} of {scores.known})")
    rows: list[tuple[object, ...]] = [("", "threshold", "false accepts", "bound (95 %)", "misses")]
    rows += [
        (
            point.name,
            f"{point.threshold:.4f}",
            f"{point.false_accepts} of {point.unknown}",
            f"{point.fpir_bound:.4f}",
            f"{point.misses} of {point.known}",
        )
        for point in (*scores.at_thresholds, *scores.det)
    ]
    echo_table(rows)
    if not scores.unknown:
        click.echo("PROBES has no strangers, so the open set was not measured; --leave-out 0.5 creates some")


def _list(title: str, lines: object) -> None:
    if isinstance(lines, Sequence) and lines:
        click.echo(f"{title}:")
        for line in lines:
            click.echo(f"  {line}")


COMMANDS = (evaluate,)
