"""`facend probe`: a first look at a camera, here a recording."""

import json
import subprocess

import cv2
import numpy as np
import pytest

from cameras.clips.write import write_clip
from daemon.cli.probe import _write
from pipeline.faces.quality import PARTS
from tests.daemon_process import FACEND, facend, write_settings
from tests.faces import portrait, six_people, wall


def test_a_probe_says_what_comes_and_draws_the_faces(tmp_path):
    """Codec, size, rate and time to the first picture; the picture has a box around each face, whose
    quality is told with what takes away from it."""
    people = six_people()
    write_clip(tmp_path / "people.mp4", [people] * 5, 5)
    picture = tmp_path / "seen.jpg"
    url = (tmp_path / "people.mp4").as_uri()
    settings = write_settings(tmp_path, [])
    done = facend("probe", url, "--out", picture, "--json", "--settings", settings)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    printed = facend("probe", url, "--out", picture, "--settings", settings).stdout
    head, *rows = printed.splitlines()[-1 - len(report["faces"]) :]
    assert head.split() == ["px", "at", "quality", *PARTS]
    for row, face in zip(rows, report["faces"], strict=True):
        told = [float(value) for value in row.split()[3:]]
        assert told == pytest.approx([face["quality"], *(face["parts"][name] for name in PARTS)], abs=0.006)
    assert (report["codec"], report["size"]) == ("h264", f"{people.shape[1]}x{people.shape[0]}")
    assert report["frames_per_second"] == 5
    assert report["seconds_to_first_picture"] >= 0
    assert len(report["faces"]) >= 6
    for face in report["faces"]:
        assert face["quality"] == pytest.approx(sum(face["parts"][name] for name in PARTS))
    drawn = cv2.imread(str(picture))
    assert drawn.shape == people.shape
    green = (drawn[:, :, 1] > 150) & (drawn[:, :, 0] < 130) & (drawn[:, :, 2] < 130)
    left, top, right, _ = (round(side) for side in report["faces"][0]["bbox"])
    assert green[top - 2 : top + 3, left:right].any(axis=0).mean() > 0.9


def moving_people() -> list[np.ndarray]:
    """Four seconds in which one face after the other is in view, each at a place of its own."""
    frames = []
    for number in range(4):
        frame = wall(1280, 720)
        face = portrait(number, 120)
        frame[100 : 100 + face.shape[0], 40 + 300 * number : 40 + 300 * number + face.shape[1]] = face
        frames += [frame] * 5
    return frames


def test_every_face_of_some_seconds_is_judged_and_drawn(tmp_path):
    """Faces that are never in one picture together are in the one that is written; none is in the first."""
    empty = [wall(1280, 720)] * 5
    write_clip(tmp_path / "people.mp4", empty + moving_people(), 5)
    url = (tmp_path / "people.mp4").as_uri()
    settings = write_settings(tmp_path, [{"id": "hall", "url": url, "min_face_px": 32}])
    picture = tmp_path / "seen.png"
    done = facend("probe", "hall", "--out", picture, "--json", "--settings", settings)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["faces"]) == 4
    assert report["view"]["faces"] >= 5
    assert report["view"]["widths_px"][0] >= 32
    assert picture.read_bytes().startswith(b"\x89PNG")
    drawn = cv2.imread(str(picture))
    green = (drawn[:, :, 1] > 150) & (drawn[:, :, 0] < 130) & (drawn[:, :, 2] < 130)
    for face in report["faces"]:
        left, top, right, _ = (round(side) for side in face["bbox"])
        assert green[top - 2 : top + 3, left:right].any(axis=0).mean() > 0.9
    text = facend("probe", "hall", "--out", picture, "--settings", settings).stdout
    assert "face width" in text
    assert ("suits" in text) and ("does not suit" in text) == (not report["view"]["suits"])
    first = facend("probe", url, "--seconds", "0", "--out", picture, "--json", "--settings", settings)
    nothing = json.loads(first.stdout)
    assert (nothing["faces"], nothing["pictures"], nothing["view"]["suits"]) == ([], 1, False)
    assert "have someone walk through the view" in nothing["view"]["advice"][0]


@pytest.mark.parametrize(
    ("ending", "start"),
    [(".jpg", b"\xff\xd8"), (".PNG", b"\x89PNG"), (".webp", b"RIFF"), (".bmp", b"BM"), (".tiff", b"II")],
)
def test_the_format_is_that_of_the_files_ending(tmp_path, ending, start):
    """Written as what it is called."""
    picture = tmp_path / f"seen{ending}"
    _write(picture, wall(64, 64))
    assert picture.read_bytes().startswith(start)


def test_an_ending_or_an_id_that_means_nothing_is_an_error(tmp_path):
    """Before anything is connected."""
    settings = write_settings(tmp_path, [])
    done = facend("probe", "rtsp://127.0.0.1:1/x", "--out", tmp_path / "seen.gif", "--settings", settings)
    assert (done.returncode, "expected a suffix of .jpg" in done.stderr) == (2, True)
    done = facend("probe", "hall", "--out", tmp_path / "seen.jpg", "--settings", settings)
    assert (done.returncode, "there is no camera hall" in done.stderr) == (1, True)


def test_a_camera_of_the_collection_is_probed_with_its_own_login(tmp_path):
    """Its password is read from this box's secrets."""
    settings = write_settings(tmp_path, [])
    password = "q7Ew2r@T9/yU"  # noqa: S105  of no camera
    added = subprocess.run(
        [
            *(FACEND, "cameras", "add", "yard", "rtsp://127.0.0.1:1/x", "user=cam", "--password-stdin"),
            *("--settings", settings),
        ],
        input=f"{password}\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert added.returncode == 0, added.stderr
    done = facend("probe", "yard", "--out", tmp_path / "seen.jpg", "--settings", settings)
    assert done.returncode == 1
    assert "rtsp://***@127.0.0.1:1/x: connection refused" in done.stderr
    assert password not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("file:///no/such.mp4", 1, "not_found"),
        ("gopher://viewer:s3cret@10.0.0.7/main", 2, "gopher"),
    ],
)
def test_a_probe_that_cannot_be_says_why_in_one_line(tmp_path, url, status, said):
    """A camera that gives nothing is status 1, a URL that means nothing status 2; no picture is written."""
    picture = tmp_path / "seen.jpg"
    settings = write_settings(tmp_path, [])
    done = facend("probe", url, "--out", picture, "--settings", settings)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "s3cret" not in done.stderr
    assert not picture.exists()


def test_a_probe_into_a_folder_that_is_not_there_says_so(tmp_path):
    """The option is named."""
    write_clip(tmp_path / "people.mp4", [six_people()], 5)
    url = (tmp_path / "people.mp4").as_uri()
    settings = write_settings(tmp_path, [])
    done = facend("probe", url, "--out", tmp_path / "no" / "seen.jpg", "--settings", settings)
    assert done.returncode == 1
    assert "--out" in done.stderr
    assert len(done.stderr.splitlines()) == 1
