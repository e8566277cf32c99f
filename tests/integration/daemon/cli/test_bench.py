"""`facend bench facens`: its rows, its table and its diagram, at sizes that take a second."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from daemon.cli.main import facend
from daemon.errors import StartError


def test_bench_facens_measures_and_draws(tmp_path: Path) -> None:
    """Rows with a baseline and its ratio; what does not depend on the machine's speed is as promised."""
    png = tmp_path / "growth.png"
    options = ["--size", "2500", "--size", "5000", "--kind", "clustered", "--galleries", "20", "--start"]
    result = CliRunner().invoke(
        facend, ["bench", "facens", *options, "--json", "--png", str(png)], catch_exceptions=False
    )
    rows = json.loads(result.stdout)
    assert {tuple(row) for row in rows} == {("figure", "case", "value", "unit", "baseline", "ratio")}
    assert {row["case"] for row in rows} == {
        "clustered 2500×128",
        "clustered 5000×128",
        "2 galleries of 100×128",
        "20 galleries of 100×128",
    }
    large = {row["figure"]: row for row in rows if row["case"] == "clustered 5000×128"}
    assert large["memory after removals and additions"]["ratio"] == 1
    assert large["no ghosts after removals and additions"]["value"] == 1
    assert large["half precision: the same nearest"]["value"] == 32
    assert large["half precision: confidence off by"]["ratio"] < 1
    assert large["half precision: memory vs. full"]["ratio"] < 0.6
    assert 0 < large["start from a snapshot vs. MongoDB"]["ratio"] < 1
    assert large["search vs. numpy"]["value"] > 0
    with Image.open(png) as picture:
        assert len(picture.convert("RGB").getcolors(2**20) or []) > 50


def test_bench_facens_says_what_it_cannot_do(tmp_path: Path) -> None:
    """One size makes no curve."""
    options = ["--size", "2000", "--kind", "random", "--galleries", "0", "--png", str(tmp_path / "x.png")]
    with pytest.raises(StartError, match="two sizes"):
        CliRunner().invoke(facend, ["bench", "facens", *options], catch_exceptions=False)
