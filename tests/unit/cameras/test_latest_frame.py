import threading
from datetime import UTC, datetime

import numpy as np

from cameras.latest_frame import EndOfStream, LatestFrame
from cameras.observer import UnobservedCamera
from pipeline.types import ArrayPixels, Frame

PIXELS = ArrayPixels(np.zeros((2, 2, 3), np.uint8))


def frame(number: int) -> Frame:
    return Frame("hall", datetime(2026, 1, 1, tzinfo=UTC), float(number), PIXELS)


class Skips(UnobservedCamera):
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def skipped(self, cam_id: str, reason: str) -> None:
        self.seen.append((cam_id, reason))


def take_all(slot: LatestFrame) -> list[float | str]:
    taken: list[float | str] = []
    while (item := slot.take()) is not None:
        taken.append("end" if isinstance(item, EndOfStream) else item.media_time)
    return taken


def test_the_newest_frame_replaces_older_ones_which_are_counted() -> None:
    """Two of three frames are replaced before they are taken, and reported to the observer."""
    skips = Skips()
    slot = LatestFrame("hall", skips)
    for number in range(3):
        assert slot.put(frame(number))
    assert take_all(slot) == [2.0]
    assert slot.dropped == 2
    assert skips.seen == [("hall", "busy")] * 2


def test_a_break_keeps_the_last_frame_before_it_and_is_delivered_once() -> None:
    """The slot returns the frame, the end, and the next frame; a second end without frames in between has no
    effect."""
    slot = LatestFrame("hall")
    slot.put(frame(1))
    slot.end()
    slot.end()
    slot.put(frame(2))
    assert take_all(slot) == [1.0, "end", 2.0]


def test_no_end_without_a_frame() -> None:
    """A camera that never delivered a frame has no stream to end."""
    slot = LatestFrame("hall")
    slot.end()
    slot.close()
    assert take_all(slot) == []


def test_many_breaks_take_no_more_memory_than_one() -> None:
    """If a camera reconnects repeatedly while the analysis hangs, one frame, one end and one frame remain."""
    slot = LatestFrame("hall")
    for number in range(100):
        slot.put(frame(number))
        slot.end()
    slot.put(frame(100))
    assert take_all(slot) == [0.0, "end", 100.0]
    assert slot.dropped == 99


def test_put_with_wait_loses_no_frame() -> None:
    """Every frame is taken in order, even if taking is slow."""
    ready = threading.Event()
    slot = LatestFrame("hall", on_ready=ready.set)

    def produce() -> None:
        for number in range(50):
            slot.put(frame(number), wait=True)
        slot.close()

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    taken: list[float | str] = []
    while not slot.closed or slot.waiting:
        ready.wait(5)
        ready.clear()
        taken += take_all(slot)
    producer.join(5)
    assert taken == [*map(float, range(50)), "end"]
    assert slot.dropped == 0


def test_close_ends_a_waiting_put() -> None:
    """The camera's thread does not wait for an analysis that has ended."""
    slot = LatestFrame("hall")
    slot.put(frame(1))
    answers: list[bool] = []
    producer = threading.Thread(target=lambda: answers.append(slot.put(frame(2), wait=True)), daemon=True)
    producer.start()
    slot.close()
    producer.join(5)
    assert answers == [False]
    assert take_all(slot) == [1.0, "end"]
    assert slot.put(frame(3)) is False


def test_on_ready_is_called_only_when_an_item_can_be_taken() -> None:
    """It is called after the frame was put, outside the lock."""
    found: list[int] = []
    slot = LatestFrame("hall", on_ready=lambda: found.append(slot.waiting))
    slot.put(frame(1))
    assert found == [1]


def test_a_new_writer_drops_a_frame_that_waits_for_the_slot() -> None:
    """A takeover does not wait for the analysis, and the waiting frame does not follow the break."""
    slot = LatestFrame("hall")
    old, frames = slot.writer(), [frame(number) for number in range(2)]
    assert old.put(frames[0])
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(old.put(frames[1], wait=True)), daemon=True)
    waiting.start()
    new = slot.writer()
    waiting.join(10)
    assert answers == [False]
    old.end()
    assert not old.put(frames[1])
    assert take_all(slot) == [0.0, "end"]
    assert new.put(frames[1])
    assert take_all(slot) == [1.0]
