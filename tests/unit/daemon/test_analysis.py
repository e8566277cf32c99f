"""The thread that takes the cameras in turn, with scripted stages and everything else real."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
from structlog.testing import capture_logs

from cameras.latest_frame import LatestFrame
from daemon import analysis
from daemon.analysis import MAX_WAITING_SIGHTINGS, Analysis
from daemon.runtime.metrics import Metrics
from store.spool.spool import Spool
from tests.daemon_process import wait_for
from tests.faces import frame
from tests.sightings import sighting

PICTURE = np.zeros((4, 4, 3), np.uint8)


class ScriptedStages:
    """Posts what a frame's script says: `posts[media_time]`, and `last` when the visits are finished."""

    def __init__(self, posts=None, last=(), error=None, busy=False):
        self._posts, self._last, self._error = posts or {}, list(last), error
        self.seen, self.finished = [], 0
        self.looked = threading.Event()
        self.busy = busy

    def process(self, frame):
        if self._error:
            raise self._error
        self.seen.append(frame.media_time)
        self.looked.set()
        return self._posts.get(frame.media_time, [])

    def finish(self):
        self.finished += 1
        return self._last if self.finished == 1 else []


class Running:
    """An analysis that runs on a real spool."""

    def __init__(self, folder):
        self.metrics = Metrics(version="0", pack="none", runtime="none")
        self.spool = Spool(folder, 1 << 30, self.metrics)
        self.crashes = []
        self.analysis = Analysis(self.spool, self.metrics, self.crashes.append)
        self.analysis.start()

    def camera(self, cam_id, stages):
        slot = LatestFrame(cam_id, on_ready=self.analysis.wake)
        self.analysis.add(cam_id, slot, stages)
        return slot

    def waiting(self):
        """Scores of what the spool holds, oldest capture first."""
        return [self.spool.get(one).score for one in self.spool.pending()]

    def lost(self):
        return self.metrics.registry.get_sample_value(
            "facend_sightings_total", {"camera": "door", "outcome": "dead"}
        )


@contextmanager
def unwritable(folder):
    """A link that leads nowhere until the end, and then, from one moment to the next, to the folder."""
    kept, mended = folder.with_name("kept"), folder.with_name("mended")
    folder.rename(kept)
    folder.symlink_to("nowhere")
    yield
    mended.symlink_to(kept)
    mended.replace(folder)


@pytest.fixture
def running(tmp_path, monkeypatch):
    monkeypatch.setattr(analysis, "RETRY_SECONDS", 0.05)
    run = Running(tmp_path / "spool")
    yield run
    assert run.analysis.stop(5)


def test_what_a_frame_shows_is_safe_in_the_spool(running):
    """A sighting is written to disk before anything else is notified."""
    slot = running.camera("door", ScriptedStages({1.0: [sighting(score=-0.5)]}))
    slot.put(frame(PICTURE, 1.0))
    wait_for("the sighting", lambda: running.waiting() == [-0.5], 5)


def test_a_frame_that_comes_while_the_thread_looks_elsewhere_is_not_overlooked(running, monkeypatch):
    """It is taken at once, not when some timer ends: the second slot is looked at and found empty, and at
    that very moment a frame comes into the first, which was looked at before."""
    monkeypatch.setattr(analysis, "RETRY_SECONDS", 60.0)
    stages = ScriptedStages()
    first = LatestFrame("door", on_ready=running.analysis.wake)

    class SecondSlot(LatestFrame):
        def take(self):
            if not stages.seen and not first.waiting:
                first.put(frame(PICTURE, 1.0))
            return super().take()

    running.analysis.add("door", first, stages)
    running.analysis.add("hall", SecondSlot("hall"), ScriptedStages())
    running.analysis.wake()
    assert stages.looked.wait(5)


def test_the_end_of_a_stream_finishes_its_visits(running):
    """An interruption posts the visits in progress, and the camera continues afterwards."""
    stages = ScriptedStages({2.0: [sighting(2, score=-2.0)]}, last=[sighting(1, score=-1.0)])
    slot = running.camera("door", stages)
    slot.put(frame(PICTURE, 1.0))
    slot.end()
    wait_for("the last sighting", lambda: running.waiting() == [-1.0], 5)
    slot.put(frame(PICTURE, 2.0))
    wait_for("another one", lambda: running.waiting() == [-1.0, -2.0], 5)


def test_a_camera_that_leaves_is_seen_to_its_end(running):
    """What its slot still holds is analysed, its visits are finished, and the others stay."""
    leaving, staying = ScriptedStages(last=[sighting(score=-1.0)]), ScriptedStages()
    slot, other = running.camera("door", leaving), running.camera("hall", staying)
    slot.put(frame(PICTURE, 1.0))
    slot.close()
    running.analysis.remove("door")
    wait_for("the last sighting", lambda: running.waiting() == [-1.0], 5)
    assert leaving.seen == [1.0]
    other.put(frame(PICTURE, 5.0))
    assert staying.looked.wait(5)
    assert staying.finished == 0


def test_a_camera_that_is_replaced_loses_neither_its_old_visits_nor_its_new_frames(running):
    """The same id with other settings: both lines are served, each with its own stages."""
    old, new = ScriptedStages(last=[sighting(score=-1.0)]), ScriptedStages()
    slot = running.camera("door", old)
    slot.put(frame(PICTURE, 1.0))
    slot.close()
    running.analysis.remove("door")
    slot = running.camera("door", new)
    slot.put(frame(PICTURE, 2.0))
    wait_for("the old visit", lambda: running.waiting() == [-1.0], 5)
    assert new.looked.wait(5)
    assert (old.seen, new.seen, new.finished) == ([1.0], [2.0], 0)


def test_stopping_finishes_every_camera(running):
    """The last visits of all cameras are in the spool when `stop` returns."""
    for person, cam_id in enumerate(("door", "hall", "gate"), 1):
        slot = running.camera(cam_id, ScriptedStages(last=[sighting(person, score=-float(person))]))
        slot.put(frame(PICTURE, 1.0))
    assert running.analysis.stop(5)
    assert running.waiting() == [-1.0, -2.0, -3.0]


class Greedy(ScriptedStages):
    """Always has the next frame ready."""

    def process(self, item):
        super().process(item)
        self.slot.put(frame(PICTURE, item.media_time + 1))
        return []


def test_cameras_take_turns(running):
    """One that always has a frame ready does not keep another one waiting."""
    greedy, modest = Greedy(busy=True), ScriptedStages()
    greedy.slot, slot = running.camera("gate", greedy), running.camera("door", modest)
    greedy.slot.put(frame(PICTURE, 1.0))
    wait_for("the greedy one at work", lambda: len(greedy.seen) > 10, 5)
    slot.put(frame(PICTURE, 1.0))
    assert modest.looked.wait(5)
    greedy.slot.close()


def test_under_load_who_sees_somebody_suffers_last(running):
    """It has as many turns as all the others together, and they are even among themselves."""
    all_ready = threading.Event()

    class Patient(Greedy):
        def process(self, item):
            all_ready.wait(5)
            return super().process(item) if sum(len(one.seen) for one in cameras) < 400 else []

    cameras = [Patient(busy=number == 2) for number in range(5)]
    for number, camera in enumerate(cameras):
        camera.slot = running.camera(f"c{number}", camera)
        camera.slot.put(frame(PICTURE, 1.0))
    all_ready.set()
    wait_for("all turns", lambda: not any(camera.slot.waiting for camera in cameras), 5)
    others = [len(camera.seen) for camera in cameras if not camera.busy]
    assert len(cameras[2].seen) >= sum(others)
    assert max(others) - min(others) <= 1


def test_sightings_wait_while_the_spool_cannot_be_written(running):
    """They are kept in memory, and are there when it can be written again."""
    with unwritable(running.spool.folder):
        two = [sighting(1, score=-1.0), sighting(2, score=-2.0)]
        slot = running.camera("door", ScriptedStages({1.0: two}))
        slot.put(frame(PICTURE, 1.0))
        wait_for("the fault", lambda: running.spool.fault, 5)
    wait_for("both", lambda: running.waiting() == [-1.0, -2.0], 5)
    assert running.spool.fault is None
    assert not running.lost()


def test_the_poorest_are_lost_first_and_counted(running):
    """More than memory is meant for: the poorest go, the metric says how many, and so do two log lines."""
    scores = [-0.01 * number for number in range(1, MAX_WAITING_SIGHTINGS + 4)]
    many = [sighting(1, look=number, score=score) for number, score in enumerate(scores)]
    with capture_logs() as logged:
        with unwritable(running.spool.folder):
            slot = running.camera("door", ScriptedStages({1.0: many}))
            slot.put(frame(PICTURE, 1.0))
            wait_for("three to be lost", lambda: running.lost() == 3, 5)
        wait_for("the others", lambda: running.waiting() == scores[:-3], 5)
    said = [line for line in logged if "lost" in line["event"]]
    assert [line["event"] for line in said] == [
        "sightings are lost: the spool cannot be written",
        "sightings were lost while the spool could not be written",
    ]
    assert said[-1]["sightings"] == 3


def test_a_fault_in_our_own_code_reaches_the_daemon(tmp_path):
    """The thread does not die in silence."""
    run = Running(tmp_path / "spool")
    fault = RuntimeError("a bug")
    slot = run.camera("door", ScriptedStages(error=fault))
    slot.put(frame(PICTURE, 1.0))
    wait_for("the crash", lambda: run.crashes == [fault], 5)
    assert run.analysis.stop(5)
