"""The main job, watched from outside: six people come by an RTSP camera, again and again."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.faces.alignment import align
from pipeline.faces.facen import decode
from tests.daemon_process import Daemon, Samples, daemon, facend, free_port, mongods, write_settings
from tests.end_to_end.stored import assert_persons_agree, assert_pictures_are_those_of, documents, opened
from tests.faces import default_models, six_faces, six_people
from tests.rtsp import rtsp_server
from tests.store_checks import files_below, picture_path

PATIENCE_SECONDS = 120.0
"""Everybody comes twice in 40 s; a busy machine takes longer to start and to store."""

PASSWORD = "s3cret-of-the-hall"  # noqa: S105 - of a camera that the test makes


@dataclass
class Watched:
    """What one daemon said and stored. Its camera was switched off before we looked, and all was stored."""

    data_dir: Path
    began: datetime
    status: dict[str, Any]
    """While people came by."""
    cameras_command: list[dict[str, Any]]
    healthz: tuple[int, str]
    readyz: tuple[int, str]
    faces: list[dict[str, Any]]
    persons: list[dict[str, Any]]
    exported_faces: list[dict[str, Any]]
    exported_persons: list[dict[str, Any]]
    metrics: Samples
    log: str
    exit_status: int
    mongods_left: list[int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hall")


@pytest.fixture(scope="module")
def watched(demo_clip: Path, folder: Path) -> Watched:
    port = free_port()
    with rtsp_server({"hall": demo_clip}, user="viewer", password=PASSWORD) as server:
        camera = {"id": "hall", "url": server.url("hall", f"viewer:{PASSWORD}"), "min_score": -5}
        settings = write_settings(folder, [camera], http={"port": port})
        began = datetime.now(UTC)
        with daemon(settings) as process:
            process.ready()
            process.until("everybody twice", lambda: everybody_came_twice(process), PATIENCE_SECONDS)
            status = process.status()
            listed = json.loads(facend("cameras", "--settings", settings, "--json").stdout)
            healthz, readyz = process.get("/healthz"), process.get("/readyz")
            write_settings(folder, [{**camera, "enabled": False}], http={"port": port})
            process.hang_up()
            process.logged("a camera's last visits are finished")
            process.until("nothing on its way", lambda: nothing_waits(process), 20)
            return Watched(
                data_dir=folder / "data",
                began=began,
                status=status,
                cameras_command=listed,
                healthz=healthz,
                readyz=readyz,
                faces=documents(folder / "data", "faces"),
                persons=documents(folder / "data", "persons"),
                exported_faces=exported("faces", settings),
                exported_persons=exported("persons", settings),
                metrics=process.metrics(),
                exit_status=process.stop(),
                log=process.text(),
                mongods_left=mongods(folder / "data"),
            )


def everybody_came_twice(process: Daemon) -> bool:
    visits = Counter(visit["person"] for visit in process.log("visit"))
    return len(visits) >= 6 and min(visits.values()) >= 2


def nothing_waits(process: Daemon) -> bool:
    accepted = len(process.log("sighting accepted"))
    if process.stored() != accepted or process.status()["spool"]["sightings"]:
        return False
    # The daemon counts its facens now and then.
    return process.metrics().total("facend_facens", gallery_kind="default") == accepted


def exported(what: str, settings: Path) -> list[dict[str, Any]]:
    done = facend("export", what, "--settings", settings)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_six_people_are_six_persons_who_came_twice(watched: Watched) -> None:
    """Six person ids, no seventh, and each of them has two faces or more."""
    visits = Counter(face["person_id"] for face in watched.faces)
    assert len(visits) == len(watched.persons) == 6
    assert min(visits.values()) >= 2
    assert_persons_agree(watched.faces, watched.persons)


def test_every_person_is_one_of_the_six_and_always_the_same(watched: Watched) -> None:
    """Compared with the sample picture that the clip was made from, each person id is one human being."""
    models = default_models()
    cuts = [align(six_people(), face.landmarks) for face in six_faces()]
    truth = models.embedder.embed(cuts)
    meant = defaultdict(set)
    for face in watched.faces:
        meant[face["person_id"]].add(int(np.argmax(truth @ decode(face["facen"]))))
    assert sorted(map(sorted, meant.values())) == [[0], [1], [2], [3], [4], [5]]


def test_a_visitor_is_new_once_and_known_afterwards(watched: Watched) -> None:
    """Each person was created for one face, the first; on the first day there are no friends."""
    for person in {face["person_id"] for face in watched.faces}:
        theirs = [face for face in watched.faces if face["person_id"] == person]
        theirs.sort(key=lambda face: face["timestamp"])
        assert [face["person_created"] for face in theirs] == [True] + [False] * (len(theirs) - 1)
        assert all(face["confidence"] > 0.6 for face in theirs[1:])
        assert not any(face["friend"] for face in theirs)


def test_capture_times_are_those_of_the_watch(watched: Watched) -> None:
    """Times are UTC, lie within the watch, and grow with the media time."""
    faces = sorted(watched.faces, key=lambda face: face["timestamp"])
    assert all(watched.began <= face["timestamp"] <= datetime.now(UTC) for face in faces)
    media_times = [face["media_time"] for face in faces]
    assert media_times == sorted(media_times)


def test_the_export_says_what_mongodb_holds(watched: Watched) -> None:
    """`facend export` prints every face and every person, field by field as they are stored."""
    assert [face["id"] for face in watched.exported_faces] == [str(face["_id"]) for face in watched.faces]
    for shown, face in zip(watched.exported_faces, watched.faces, strict=True):
        assert shown["bbox"] == [face["x1"], face["y1"], face["x2"], face["y2"]]
        assert shown["galleries"] == face["gallery"]
        assert datetime.fromisoformat(shown["timestamp"]) == face["timestamp"]
        person = face["person_id"]
        assert shown["person_id"] == (None if person is None else str(person))
        same = ("cam_id", "friend", "score", "media_time", "photo_hash")
        for key in (*same, "photo", "thumbnail", "normalized"):
            assert shown[key] == face[key], key
    assert {row["id"]: row["faces"] for row in watched.exported_persons} == dict(
        Counter(str(face["person_id"]) for face in watched.faces)
    )


def test_every_picture_is_on_disk_and_opens(watched: Watched) -> None:
    """Three pictures for every face, and not one file beside them."""
    assert_pictures_are_those_of(watched.faces, watched.data_dir / "uploads")


def test_pictures_have_the_right_sizes(watched: Watched) -> None:
    """The photo is the frame, the normalized face 112×112, the thumbnail what the bbox cuts out."""
    for face in watched.faces:
        photo = opened(face["photo"])
        assert photo.shape == (720, 1280, 3)
        assert opened(face["normalized"]).shape == (112, 112, 3)
        assert picture_path(face["normalized"]).read_bytes().startswith(b"\x89PNG")
        thumbnail = opened(face["thumbnail"])
        left, top = max(0, int(face["x1"])), max(0, int(face["y1"]))
        cut = photo[top : top + thumbnail.shape[0], left : left + thumbnail.shape[1]]
        assert abs(thumbnail.shape[1] - (min(1280, face["x2"]) - left)) < 1.01
        assert abs(thumbnail.shape[0] - (min(720, face["y2"]) - top)) < 1.01
        assert cv2.absdiff(thumbnail, np.ascontiguousarray(cut)).mean() < 5  # JPEG loses a little


def test_the_numbers_add_up(watched: Watched) -> None:
    """Posted shots = stored sightings = faces = triples of pictures; persons and bytes as on disk."""
    number, total = len(watched.faces), watched.metrics.total
    files = files_below(watched.data_dir / "uploads")
    assert total("facend_sightings_total", camera="hall", outcome="stored") == number
    assert total("facend_shots_total", camera="hall", outcome="posted") == number
    assert total("facend_sightings_total") == number  # none was retried, dropped or put aside
    assert len(files) == 3 * number
    assert total("facend_uploads_bytes_total") == sum(path.stat().st_size for path in files)
    assert total("facend_persons_total", camera="hall", outcome="created") == 6
    assert total("facend_persons_total", camera="hall", outcome="matched") == number - 6
    assert total("facend_visits_total", camera="hall") >= number
    assert total("facend_facens", gallery_kind="default") == number
    assert total("facend_facens", gallery_kind="person") == number
    assert 6 <= total("facend_facens", gallery_kind="reference") <= number
    assert total("facend_spool_sightings") == 0
    for stage in ("identify", "upload"):
        assert total("facend_stage_seconds_count", stage=stage) == number


def test_frames_add_up(watched: Watched) -> None:
    """Every frame that was analysed or skipped had been decoded."""
    total = watched.metrics.total
    decoded, analysed = total("facend_frames_decoded_total"), total("facend_frames_analysed_total")
    assert 0 < analysed < decoded
    assert analysed + total("facend_frames_skipped_total") <= decoded
    assert total("facend_stage_seconds_count", stage="detect") == analysed
    assert total("facend_faces_detected_total") >= len(watched.faces)


def test_health_and_status_tell_of_a_daemon_that_works(watched: Watched) -> None:
    """Alive, ready, and a green camera with its codec, size and rate."""
    assert watched.healthz == watched.readyz == (200, "ok\n")
    store = watched.status["store"]
    assert (store["ready"], store["trouble"], store["malformed_documents"]) == (True, "", {})
    assert watched.status["spool"]["fault"] is None
    (camera,) = watched.status["cameras"]
    assert (camera["cam_id"], camera["state"], camera["codec"]) == ("hall", "green", "h264")
    assert (camera["width"], camera["height"]) == (1280, 720)
    assert "1 green" in watched.status["summary"]
    for nightly, at in (("doctor", "T04:30"), ("merge", "T05:00")):
        assert at in watched.status["jobs"][nightly]["next_run"]


def test_retention_does_not_wait_for_the_night(watched: Watched) -> None:
    """It runs within an hour of the start, for a box that is switched off every evening."""
    started = datetime.fromisoformat(watched.status["started_at"])
    first = datetime.fromisoformat(watched.status["jobs"]["retention"]["next_run"])
    assert first <= started + timedelta(hours=1, seconds=10)


def test_the_cameras_command_says_how_the_camera_is(watched: Watched) -> None:
    """`facend cameras --json` asks the running daemon."""
    (camera,) = watched.cameras_command
    assert (camera["id"], camera["state"]) == ("hall", "green")
    assert camera["url"].startswith("rtsp://***@127.0.0.1:")


def test_the_password_shows_nowhere(watched: Watched) -> None:
    """Neither log, status, commands nor stored documents hold the camera's password."""
    shown = (watched.log, watched.status, watched.cameras_command, watched.faces, watched.exported_faces)
    assert PASSWORD not in repr(shown)


def test_sigterm_ends_it_within_ten_seconds(watched: Watched) -> None:
    """Exit status 0, and the private mongod ended with it."""
    assert watched.exit_status == 0
    assert watched.mongods_left == []


def test_a_restart_knows_the_persons(watched: Watched, folder: Path, demo_clip: Path) -> None:
    """The same people come by the same camera after a restart: matched, none of them created."""
    with rtsp_server({"hall": demo_clip}) as server:
        settings = write_settings(
            folder, [{"id": "hall", "url": server.url("hall"), "min_score": -5}], http={"port": 0}
        )
        with daemon(settings, "restarted") as process:
            process.ready()
            process.until("visitors", lambda: process.stored() >= 3, PATIENCE_SECONDS)
            assert process.stop() == 0
        visits = process.log("visit")
    assert len(visits) >= 3
    known = {face["person_id"] for face in watched.faces}
    assert all(visit["reason"].startswith("matched") and visit["person"] in known for visit in visits)
