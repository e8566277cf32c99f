"""A camera that decodes only key frames while nothing happens, beside one that decodes everything."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from cameras.clips.write import write_clip
from daemon.demo.clip import FPS, WALKS, hall_frames, sample_picture
from tests.daemon_process import daemon, write_settings
from tests.end_to_end.stored import documents

FIRST_SECONDS = 6.0
PERIOD_SECONDS = 10.0
"""A visitor comes every ten seconds, and is in view for four."""


def test_nobody_is_missed_and_everybody_is_the_same_person(tmp_path: Path) -> None:
    """Three people before both cameras, which share their persons: three persons, each seen by both."""
    visitors = (WALKS[0], WALKS[1], WALKS[4])
    walks = [
        replace(walk, start=FIRST_SECONDS + PERIOD_SECONDS * number + 0.7)
        for number, walk in enumerate(visitors)
    ]
    clip = tmp_path / "visitors.mp4"
    count = round((FIRST_SECONDS + PERIOD_SECONDS * len(walks)) * FPS)
    write_clip(clip, hall_frames(sample_picture(), walks, count, FPS), FPS, key_frame_seconds=2)
    # As fast as they are analysed, so that a slow machine leaves nothing out.
    cameras = [
        {"id": mode, "url": clip.as_uri(), "decode": mode, "speed": "fast"} for mode in ("all", "keyframes")
    ]
    with daemon(write_settings(tmp_path, cameras, persons={"scope": "global"})) as process:
        process.ready()

        def both_have_ended() -> bool:
            return all(camera["reason"] == "ended" for camera in process.status()["cameras"])

        process.until("both clips were played", both_have_ended, 180)
        process.until("all is stored", lambda: process.stored() == len(process.log("sighting accepted")), 60)
        decoded = {camera["cam_id"]: camera["frames_decoded"] for camera in process.status()["cameras"]}
        faces = documents(tmp_path / "data", "faces")
    seen = defaultdict(set)
    for face in faces:
        if face["person_id"] is not None:  # a poor look of somebody who is found by a better one
            seen[face["cam_id"]].add(face["person_id"])
    assert seen["all"] == seen["keyframes"]
    assert len(seen["all"]) == 3
    assert decoded["all"] == count
    assert decoded["keyframes"] < 0.85 * count
