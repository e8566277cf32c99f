"""`facend evaluate` and `facend calibrate` with the real models and the real store, on the six people of a
sample picture."""

import json
import os
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest

from cameras.clips.write import write_clip
from tests.daemon_process import facend, write_settings
from tests.faces import placed, portrait, wall

PEOPLE = range(6)
FACE_PX = 110
FPS = 10
VISIT_FRAMES = 25


def varied(person: int, variant: int) -> np.ndarray:
    """A portrait: as it is, smaller and tilted, or darker and blurred a little."""
    picture = portrait(person, (FACE_PX, 80, FACE_PX)[variant])
    side = picture.shape[0]
    if variant == 1:
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), 8, 1)
        return cv2.warpAffine(picture, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    if variant == 2:
        return cv2.convertScaleAbs(cv2.GaussianBlur(picture, (0, 0), 1), alpha=0.7)
    return picture


def write_picture(path, person: int, variant: int) -> None:
    """A portrait on a wall, with room around it."""
    scene = wall(320, 320)
    placed(scene, varied(person, variant), 160, 160)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), scene)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Three pictures of each, called as LFW calls them: p0/p0_0001.png …"""
    folder = tmp_path_factory.mktemp("people")
    for person in PEOPLE:
        for variant in range(3):
            write_picture(folder / f"p{person}" / f"p{person}_{variant + 1:04d}.png", person, variant)
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two cameras; three people come nearer, each once at each camera, never at both at once."""
    folder = tmp_path_factory.mktemp("scene")
    visits, boxes = [], {"cam1": [], "cam2": []}
    for number in range(6):
        camera, person = f"cam{1 + number % 2}", number % 3
        start = (number // 2) * (VISIT_FRAMES + 20) + 5 * (number % 2)
        visits.append(
            {
                "visit": number,
                "id": f"p{person}",
                "camera": camera,
                "start": start,
                "end": start + VISIT_FRAMES,
                "variant": "x",
                "max_face_px": FACE_PX,
            }
        )
    for camera, rows in boxes.items():
        write_clip(folder / f"{camera}.mp4", _frames(camera, visits, rows), FPS)
    (folder / "truth.json").write_text(
        json.dumps({"fps": FPS, "size": [320, 192], "visits": visits, "boxes": boxes})
    )
    return folder


def _frames(camera, visits, rows):
    mine = [visit for visit in visits if visit["camera"] == camera]
    for frame in range(max(visit["end"] for visit in visits) + 20):
        picture = wall()
        for visit in mine:
            if visit["start"] <= frame < visit["end"]:
                share = (frame - visit["start"]) / VISIT_FRAMES
                size = round(FACE_PX * (0.6 + 0.4 * share))
                where = placed(picture, portrait(int(visit["id"][1]), size), 100 + 110 * share, 96)
                inset = where.width * 0.2
                box = [
                    where.left + inset,
                    where.top + inset,
                    where.width - 2 * inset,
                    where.height - 2 * inset,
                ]
                rows.append([frame, visit["visit"], visit["id"], *box])
        yield picture


def run(tmp_path, *arguments):
    """The command's JSON, and what it wrote to stderr."""
    done = facend(*arguments, "--settings", write_settings(tmp_path, [], log_level="warning"), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def faces_in(tmp_path, data_dir):
    """What is stored, without what differs by its nature: ids, URLs, the day."""
    settings = write_settings(tmp_path, [], data_dir=str(data_dir))
    done = facend("export", "faces", "--settings", settings)
    assert done.returncode == 0, done.stderr
    keys = ("cam_id", "person_id", "bbox", "score", "media_time", "photo_hash")
    return [[json.loads(line)[key] for key in keys] for line in done.stdout.splitlines()]


def test_a_scene_is_played_to_its_end_scored_and_gives_the_same_persons_every_time(scene, tmp_path):
    """Three people at two cameras in turn: six visits, three persons; a second run stores the same."""
    scores = [run(tmp_path, "evaluate", "scene", scene, "--keep", tmp_path / name) for name in ("one", "two")]
    for score in scores:
        assert (score["visits"], score["visit_recall"], score["stray_faces"]) == (6, 1, 0)
        assert (score["identities"], score["persons"], score["bcubed_f1"]) == (3, 3, 1)
        assert score["faces_per_visit"] == 1
    stored = faces_in(tmp_path, tmp_path / "one")
    assert len(stored) == 6
    assert stored == faces_in(tmp_path, tmp_path / "two")


def test_clips_of_a_scene_differ_in_size_and_frame_rate(scene, tmp_path):
    """The second camera's clip has twice the size and twice the frame rate: the same visits and persons. A
    listed piece of junk nobody stored changes nothing, and the contact sheet has a picture."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    truth = json.loads((scene / "truth.json").read_text())
    (folder / "cam1.mp4").write_bytes((scene / "cam1.mp4").read_bytes())
    visits = [visit for visit in truth["visits"] if visit["camera"] == "cam2"]
    pictures = _frames("cam2", visits, [])
    twice = (cv2.resize(picture, None, fx=2, fy=2) for picture in pictures for _ in range(2))
    write_clip(folder / "cam2.mp4", twice, 2 * FPS)
    for visit in visits:
        visit["start"], visit["end"] = 2 * visit["start"], 2 * visit["end"]
    rows = truth["boxes"]["cam2"]
    truth["boxes"]["cam2"] = [
        [2 * frame + more, visit, identity, *(2 * value for value in box)]
        for frame, visit, identity, *box in rows
        for more in (0, 1)
    ]
    truth["fps"] = {"cam1": FPS, "cam2": 2 * FPS}
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "junk.json").write_text(json.dumps({"cam1": [[0, "corner", 0, 0, 30, 30]]}))
    sheet = tmp_path / "sheet.png"
    score = run(tmp_path, "evaluate", "scene", folder, "--sheet", sheet)
    assert (score["visits"], score["visit_recall"], score["stray_faces"]) == (6, 1, 0)
    assert (score["identities"], score["persons"], score["bcubed_f1"]) == (3, 3, 1)
    assert (score["persons_of_junk"], score["persons_mixed"], score["identities_split"]) == (0, 0, 0)
    assert cv2.imread(str(sheet)).std() > 20


@pytest.mark.skipif("FACEND_TEST_SCENE" not in os.environ, reason="FACEND_TEST_SCENE names no labelled scene")
def test_real_clips_make_the_right_persons(tmp_path):
    """A labelled scene of real clips, in the folder FACEND_TEST_SCENE: no person of junk, none mixed, at most
    one identity split, nearly every visit found; a second run stores the same."""
    scene = Path(os.environ["FACEND_TEST_SCENE"])
    arguments = "evaluate", "scene", scene, "--min-face", "40", "--keep"
    score = run(tmp_path, *arguments, tmp_path / "one")
    run(tmp_path, *arguments, tmp_path / "two")
    assert (score["persons_of_junk"], score["persons_mixed"]) == (0, 0)
    assert score["identities_split"] <= 1
    assert score["bcubed_precision"] >= 0.995
    assert score["bcubed_f1"] >= 0.98
    assert score["visit_recall"] >= 0.92
    assert score["stray_faces"] <= 3
    assert faces_in(tmp_path, tmp_path / "one") == faces_in(tmp_path, tmp_path / "two")


def test_a_scene_does_not_touch_a_folder_with_data_in_it(scene, tmp_path):
    """What was stored before would spoil the scores."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "something").touch()
    done = facend("evaluate", "scene", scene, "--keep", tmp_path / "kept")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("is not empty; an evaluation needs an empty data folder")


def test_a_clip_that_is_no_video_ends_the_run_with_one_line(scene, tmp_path):
    """The camera is named, and nothing waits for ever."""
    broken = tmp_path / "scene"
    broken.mkdir()
    (broken / "truth.json").write_bytes((scene / "truth.json").read_bytes())
    (broken / "cam1.mp4").write_bytes((scene / "cam1.mp4").read_bytes())
    (broken / "cam2.mp4").write_bytes(b"no video at all" * 1000)
    settings = write_settings(tmp_path, [], log_level="error", log_format="console")
    done = facend("evaluate", "scene", broken, "--settings", settings)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("facend: cam2: ")


def test_pairs_are_judged_beside_opencv_s_own_way(people, tmp_path):
    """Ten folds over six people: every pair is judged right, and OpenCV's own way does no better."""
    rows = ["10\t2"]
    for fold in range(10):
        one, other, third = (f"p{(fold + step) % 6}" for step in range(3))
        rows += [f"{one}\t1\t2", f"{other}\t1\t3", f"{one}\t1\t{other}\t2", f"{other}\t3\t{third}\t1"]
    (tmp_path / "pairs.txt").write_text("\n".join(rows))
    report = run(tmp_path, "evaluate", "pairs", tmp_path / "pairs.txt", people, "--opencv")
    for way in ("facend", "opencv"):
        assert report[way]["failed_to_detect"] == 0
        assert (report[way]["genuine_pairs"], report[way]["impostor_pairs"]) == (20, 20)
    assert (report["facend"]["accuracy"], report["facend"]["auc"], report["facend"]["eer"]) == (1, 1, 0)
    assert 0.9 <= report["opencv"]["accuracy"] <= report["facend"]["accuracy"] + 0.001


def test_everybody_is_identified_and_strangers_are_not(people, tmp_path):
    """First pictures as gallery, the others as probes; then with half of the people unknown."""
    for person in PEOPLE:
        write_picture(tmp_path / "gallery" / f"p{person}_a.png", person, 0)
    closed = run(tmp_path, "evaluate", "identify", tmp_path / "gallery", people)
    assert (closed["known"], closed["rank1"], closed["unknown"]) == (18, 18, 0)
    half = run(tmp_path, "evaluate", "identify", tmp_path / "gallery", people, "--leave-out", "0.5")
    assert (half["known"], half["rank1"], half["unknown"]) == (9, 9, 9)
    medium = next(point for point in half["at_thresholds"] if point["name"] == "medium")
    assert medium["false_accepts"] == 0
    assert medium["misses"] <= 1  # the pictures are small, and made worse on purpose


def test_a_calibration_counts_writes_and_draws(people, tmp_path):
    """Pairs of 18 pictures; too few for a rate, so the file keeps the pack's threshold; PNGs that open."""
    (people / "p0" / "no picture.jpg").write_bytes(b"not a picture")
    out = tmp_path / "out" / "own.toml"
    report = run(tmp_path, "calibrate", people, "--discard", "--out", out)
    assert (report["genuine_pairs"], report["impostor_pairs"]) == (18, 135)
    assert [suggestion["carried"] for suggestion in report["suggestions"]] == [False, False]
    assert report["eer"] == 0
    assert len(report["without_face"]) == 1
    assert tomllib.loads(out.read_text()) == {"persons": {"threshold": "auto"}}
    drawn = sorted(path.name for path in out.parent.glob("*.png"))
    assert drawn == [f"own-{name}.png" for name in ("det", "discard", "histogram", "roc")]
    assert all(cv2.imread(str(out.with_name(name))).shape == (640, 900, 3) for name in drawn)
    assert {curve["name"] for curve in report["discard"]} >= {"strict", "medium", "low"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate", "scene", "nowhere"], "nowhere/truth.json: cannot be read"),
        (["evaluate", "pairs", "nowhere.txt", "."], "nowhere.txt: cannot be read"),
        (["evaluate", "pairs", __file__, "nowhere"], "nowhere: there is no such folder"),
        (["evaluate", "identify", "nowhere", "nowhere"], "nowhere: cannot be read"),
        (["calibrate", "nowhere"], "nowhere: cannot be read"),
    ],
)
def test_a_folder_that_is_not_there_is_one_line(arguments, told):
    """Exit status 2, no traceback."""
    done = facend(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
