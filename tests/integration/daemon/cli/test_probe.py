"""`facend probe`: a first look at a camera, here a recording."""

import json

import cv2
import pytest

from cameras.clips.write import write_clip
from pipeline.faces.quality import PARTS
from tests.daemon_process import facend, write_settings
from tests.faces import six_people


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
