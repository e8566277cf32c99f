from dataclasses import replace
from pathlib import Path

import pytest

from daemon.benchmarks.camera_clips import Clip, PlayedClip
from daemon.benchmarks.camera_recall import recall
from daemon.benchmarks.camera_reference import ReferenceVisit
from daemon.benchmarks.camera_runs import Plan, Run
from daemon.benchmarks.cameras import keeps_up, rising
from daemon.benchmarks.daemon_process import DaemonSample, Stored

CLIP = Clip(Path("hall.mp4"), 25.0, 20.0, ())
PLAN = Plan(lambda camera: PlayedClip(CLIP, CLIP.path, (0.0, 8.0)[camera % 2]), 30.0, {}, {})
VISITS = {CLIP.path: [ReferenceVisit(5.0, 7.0, 0), ReferenceVisit(15.0, 17.0, 1)]}


def look(at: float) -> DaemonSample:
    return DaemonSample(at, {}, 0.0, 0.0, 0.0, {})


def run(stored: list[Stored], end: DaemonSample | None = None, cameras: int = 2) -> Run:
    began = {f"c{number}": 1000.0 for number in range(cameras)}
    return Run(cameras, look(1000.0), end or look(1030.0), began, stored, 1.0, 25.0 * cameras)


def stored(camera: int, media_time: float, person: int | None, after: float = 1.0) -> Stored:
    return Stored(1000 + media_time + after, f"c{camera}", 1000 + media_time, media_time, person)


def test_visits_are_looked_for_where_each_camera_showed_them() -> None:
    """In 26 s the first camera shows the visits at 5, 15 and, the clip begun anew, 25 s; the second, eight
    seconds ahead, those at 7 and 17 s. The one of them that was not stored is missed."""
    seen = recall(
        run([stored(0, 5.5, 10), stored(0, 15.0, 11), stored(0, 25.2, 10), stored(1, 7.0, 11)]), PLAN, VISITS
    )
    assert (seen.expected, seen.found) == (5, 4)
    assert sorted(seen.delays) == pytest.approx([1.0, 1.0, 1.2, 1.5])
    assert (seen.people, seen.persons, seen.mixed) == (2, 2, 0)


def test_two_people_in_one_person_are_told() -> None:
    """A face without a person is not a mix-up."""
    seen = recall(run([stored(0, 5.0, 10), stored(0, 15.0, 10), stored(1, 7.0, None)]), PLAN, VISITS)
    assert (seen.people, seen.persons, seen.mixed) == (2, 1, 1)


def aged(seconds: str, decoded: float = 50.0) -> DaemonSample:
    """A sample after ten seconds, in which every frame was younger than `seconds`."""
    ages = {
        ("facend_frame_age_seconds_bucket", edge): 100.0 * (float(edge) >= float(seconds)) for edge in EDGES
    }
    return DaemonSample(
        1010.0, {}, 0.0, 0.0, 0.0, {**ages, ("facend_frames_decoded_total", ""): 10 * decoded}
    )


EDGES = ("0.1", "0.2", "0.5", "1.0", "+Inf")


@pytest.mark.parametrize(
    ("age", "decoded", "up"), [("0.2", 50, True), ("1.0", 50, False), ("0.2", 40, False)]
)
def test_keeping_up_is_to_decode_what_falls_due_and_to_analyse_it_soon(
    age: str, decoded: float, *, up: bool
) -> None:
    assert keeps_up(run([], aged(age, decoded)), PLAN) is up


def test_who_dozes_may_decode_less_and_late() -> None:
    """By one interval of key frames."""
    dozing = replace(PLAN, keyframe_seconds=0.6)
    assert keeps_up(run([], aged("1.0", 2)), dozing)
    assert not keeps_up(run([], aged("1.0", 2)), replace(PLAN, keyframe_seconds=0.1))


def test_an_age_lies_within_its_bucket() -> None:
    """As Prometheus takes it: 95 % of the way from 0.1 to 0.2."""
    assert run([], aged("0.2")).age(0.95) == pytest.approx(0.195)


def test_the_number_of_cameras_is_doubled_and_then_halved_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven are found among up to 256, and no number is tried twice."""

    def measured(_plan: Plan, cameras: int) -> Run:
        return run([], aged("0.2" if cameras <= 11 else "1.0", 25.0 * cameras), cameras)

    monkeypatch.setattr("daemon.benchmarks.cameras.measure", measured)
    tried: list[int] = []
    most, runs = rising(PLAN, 2, 256, 10, lambda one: tried.append(one.cameras))
    assert most == 11
    assert tried == [2, 4, 8, 16, 12, 10, 11]
    assert [one.cameras for one in runs] == sorted(tried)
