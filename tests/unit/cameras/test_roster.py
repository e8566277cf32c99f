import pytest

from cameras import roster
from cameras.roster import Assignment
from cameras.settings import CameraSettings


def settings(cam_id: str, url: str = "rtsp://host/live", **given: object) -> CameraSettings:
    return CameraSettings.model_validate({"id": cam_id, "url": url, **given})


def camera(cam_id: str, url: str = "rtsp://host/live", read_by: str = "") -> Assignment:
    return Assignment(settings(cam_id, url), read_by)


def test_diff_contains_only_the_cameras_that_differ() -> None:
    """One added, one removed, one with a new password; the fourth is not in the result."""
    old = [camera("same"), camera("gone"), camera("new-password", "rtsp://u:a@host/live")]
    new = [camera("fresh"), camera("new-password", "rtsp://u:b@host/live"), camera("same")]
    found = roster.diff(old, new)
    assert found == roster.RosterDiff(added=("fresh",), removed=("gone",), changed=("new-password",))


def test_the_same_cameras_in_another_order_are_no_change() -> None:
    """An empty diff is false."""
    assert not roster.diff([camera("a"), camera("b")], [camera("b"), camera("a")])


def test_a_camera_changes_when_another_box_starts_or_stops_reading_it() -> None:
    """Also if another box takes it over from a third one."""
    old = [camera("mine"), camera("theirs", read_by="yard"), camera("moves", read_by="yard")]
    new = [camera("mine", read_by="yard"), camera("theirs"), camera("moves", read_by="hall")]
    assert roster.diff(old, new).changed == ("mine", "theirs", "moves")


def test_an_id_used_twice_is_refused() -> None:
    """The error contains the id."""
    with pytest.raises(ValueError, match="camera id a is used twice"):
        roster.diff([], [camera("a"), camera("a", "rtsp://other/live")])


def test_a_box_reads_its_own_cameras_and_those_without_a_detector() -> None:
    """It does not read cameras whose detector is another box."""
    cameras = [settings("mine", detector="box1"), settings("any"), settings("theirs", detector="box2")]
    assert [c.id for c in roster.for_box(cameras, "box1")] == ["mine", "any"]
