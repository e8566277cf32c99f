"""`facend bench cameras`: its rows and its diagram, on a clip of a few seconds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from cameras.clips.write import write_clip
from daemon.cli.main import facend
from daemon.demo.clip import FPS, WALKS, hall_frames, sample_picture
from daemon.errors import StartError
from tests.faces import default_models, models_dir


def test_bench_cameras_measures_and_draws(tmp_path: Path) -> None:
    """One visitor on two cameras, and then on three or one: a row for every figure, whether the machine keeps
    up or not."""
    clip, png, settings = tmp_path / "walk.mp4", tmp_path / "cost.png", tmp_path / "settings.toml"
    walk = replace(WALKS[0], start=0.0)
    write_clip(clip, hall_frames(sample_picture(), (walk,), 9 * FPS, FPS), FPS)
    default_models()
    settings.write_text(f'[models]\nfolder = "{models_dir()}"\n')
    options = ["--settings", str(settings), "--clip", str(clip), "--plot", str(png)]
    result = CliRunner().invoke(
        facend,
        ["bench", "cameras", *options, "--seconds", "3", "--from", "2", "--to", "3", "--json"],
        catch_exceptions=False,
    )
    rows = json.loads(result.stdout)
    assert {tuple(row) for row in rows} == {("figure", "case", "value", "unit", "baseline", "ratio")}
    two = {row["figure"]: row for row in rows if row["case"] == "2 cameras"}
    assert two["visits found, of a look at every frame"]["baseline"] >= 1
    assert two["persons, of as many people"]["baseline"] <= 1
    assert two["frames decoded, of those due"]["value"] > 0
    assert two["CPU of the daemon vs. decoding alone"]["ratio"] > 0.5
    assert two["memory of mongod"]["value"] > 0
    with Image.open(png) as picture:
        assert len(picture.convert("RGB").getcolors(2**20) or []) > 50


def test_bench_cameras_says_what_it_cannot_play(tmp_path: Path) -> None:
    """A file that is no clip."""
    (tmp_path / "none.mp4").write_bytes(b"nothing")
    with pytest.raises(StartError, match=r"none\.mp4"):
        CliRunner().invoke(
            facend, ["bench", "cameras", "--clip", str(tmp_path / "none.mp4")], catch_exceptions=False
        )
