from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from cameras.load.motion import MAX_STILL_SECONDS, RECHECK_SECONDS, SKIP_SECONDS, MotionGate
from pipeline.types import Scene

FPS = 10


class CountingGate(MotionGate):
    """Remembers when it compared a picture with those before."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def moves(self, luma: NDArray[np.uint8], at_seconds: float) -> bool:
        self.asked.append(at_seconds)
        return super().moves(luma, at_seconds)


def scene(seconds: float, noise: float, height: int = 180, width: int = 320) -> Iterator[NDArray[np.uint8]]:
    """A still room with sensor noise (sigma in grey levels)."""
    chance = np.random.default_rng(3)
    room = np.kron(chance.uniform(40, 200, (height // 20, width // 20)), np.ones((20, 20))).astype(np.float32)
    # Each frame shows another part of one field: drawing noise would take most of the time of these tests.
    grain = noise * chance.standard_normal((height + 64, width + 64), dtype=np.float32)
    for _ in range(round(seconds * FPS)):
        top, left = chance.integers(0, 64, 2)
        yield np.clip(room + grain[top : top + height, left : left + width], 0, 255).astype(np.uint8)


def looks(gate: MotionGate, pictures: Iterator[NDArray[np.uint8]], start: float = 0.0) -> list[bool]:
    return [looked(gate, picture, start + number / FPS) for number, picture in enumerate(pictures)]


def looked(gate: MotionGate, picture: NDArray[np.uint8], at: float) -> bool:
    return gate.scene(picture, at) is not Scene.STILL


@pytest.mark.parametrize(("noise", "seconds", "least", "most"), [(0.0, 36, 1, 1), (12.0, 16, 2, 4)])
def test_a_still_scene_is_analysed_at_long_intervals(
    noise: float, seconds: float, least: int, most: int
) -> None:
    """At every noise level there is no motion after the first seconds; an analysis is due at intervals."""
    gate = MotionGate()
    pictures = list(scene(4 + seconds, noise))
    looks(gate, iter(pictures[:40]))
    seen = [gate.scene(picture, 4 + number / FPS) for number, picture in enumerate(pictures[40:])]
    assert least <= seen.count(Scene.DUE) <= most
    assert Scene.MOVING not in seen


def test_a_person_who_moves_too_slowly_is_analysed_within_seconds() -> None:
    """A coat that becomes one grey level brighter each second, as if coming out of the dark."""
    gate = MotionGate()
    pictures = list(scene(16, 1))
    looks(gate, iter(pictures[:60]))
    seen = []
    for number, picture in enumerate(pictures[60:]):
        coat = picture.astype(float)
        coat[50:150, 100:150] += number / FPS
        seen.append(gate.scene(np.clip(coat, 0, 255).astype(np.uint8), 6 + number / FPS))
    assert Scene.MOVING not in seen
    assert Scene.DUE in seen[: round((3 + RECHECK_SECONDS) * FPS)]


def test_changing_daylight_is_no_motion() -> None:
    """The whole picture becomes a sixth brighter within 20 s."""
    slow = (
        np.clip(p.astype(float) * (1 + n / 1200), 0, 255).astype(np.uint8) for n, p in enumerate(scene(20, 2))
    )
    assert sum(looks(MotionGate(), slow)[40:]) <= 0.1 * 160


@pytest.mark.parametrize("noise", [0.0, 3.0, 8.0])
@pytest.mark.parametrize(("size", "contrast"), [(80, 15), (24, 30), (10, 60)])
def test_a_person_who_walks_in_is_motion_in_the_first_frame(noise: float, size: int, contrast: int) -> None:
    """Near and far, with low contrast to the wall, and after a long still time."""
    gate = MotionGate()
    pictures = list(scene(9, noise))
    looks(gate, iter(pictures[:-30]))
    missed = 0
    for number, picture in enumerate(pictures[-30:]):
        walker = picture.astype(int)
        walker[80 : 80 + size, number * 4 : number * 4 + size] += contrast
        at = (len(pictures) - 30 + number) / FPS
        missed += not looked(gate, np.clip(walker, 0, 255).astype(np.uint8), at)
    assert missed == 0


def test_a_person_who_moves_slowly_is_motion() -> None:
    """Half a pixel per frame, more than the background model follows."""
    gate = MotionGate()
    pictures = list(scene(16, 3))
    looks(gate, iter(pictures[:60]))
    seen = []
    for number, picture in enumerate(pictures[60:]):
        walker = picture.astype(int)
        walker[50:150, : 40 + number // 2] += 40
        seen.append(looked(gate, np.clip(walker, 0, 255).astype(np.uint8), 6 + number / FPS))
    assert all(seen)


def test_a_person_who_stops_is_motion_for_a_moment_longer() -> None:
    """Afterwards, an analysis is due at intervals."""
    gate = MotionGate()
    pictures = list(scene(44, 2))
    looks(gate, iter(pictures[:60]))
    seen = []
    for number, picture in enumerate(pictures[60:]):
        standing = picture.astype(int)
        standing[50:150, 100:150] += 60
        seen.append(looked(gate, np.clip(standing, 0, 255).astype(np.uint8), 6 + number / FPS))
    assert all(seen[:20])
    gaps = np.diff(np.flatnonzero([*seen, True]))
    assert gaps.max() <= MAX_STILL_SECONDS * FPS + 1


def test_frames_after_motion_count_as_moving_without_a_comparison() -> None:
    """After motion is detected, the next comparison is made a quarter of a second later."""
    gate = CountingGate()
    pictures = list(scene(8, 2))
    looks(gate, iter(pictures[:60]))
    gate.asked.clear()
    moves = []
    for number, picture in enumerate(pictures[60:]):
        walker = picture.astype(int)
        walker[50:150, number * 8 : number * 8 + 40] += 60
        moves.append(gate.scene(np.clip(walker, 0, 255).astype(np.uint8), 6 + number / FPS))
    assert set(moves) == {Scene.MOVING}
    assert len(gate.asked) == 7
    assert np.diff(gate.asked).min() >= SKIP_SECONDS


def test_a_person_who_left_is_soon_no_motion() -> None:
    """After ten seconds in view, there is no motion four seconds after the person left."""
    gate = MotionGate()
    pictures = list(scene(26, 2))
    for number, picture in enumerate(pictures[:160]):
        standing = picture.astype(int)
        if number >= 60:
            standing[50:150, 100:150] += 60
        gate.scene(np.clip(standing, 0, 255).astype(np.uint8), number / FPS)
    gone = [gate.scene(picture, 16 + number / FPS) for number, picture in enumerate(pictures[160:])]
    assert gone[0] is Scene.MOVING
    assert Scene.MOVING not in gone[40:]


def test_a_new_picture_size_restarts_the_background_model() -> None:
    """A change of resolution in mid-stream raises no error."""
    gate = MotionGate()
    looks(gate, scene(5, 1))
    assert looked(gate, next(scene(1, 1, height=720, width=1280)), 5.0)
    assert looked(gate, np.zeros((60, 80), np.uint8), 5.1)


def test_the_empty_scene_is_recognised_and_one_with_a_person_is_not() -> None:
    """With noise and in different light; without a remembered scene nothing counts as empty."""
    gate = MotionGate()
    pictures = list(scene(4, 3))
    for number, picture in enumerate(pictures[:30]):
        gate.moves(picture, number / FPS)
    assert not gate.is_empty(pictures[30])
    gate.remember_empty()
    person = pictures[31].copy()
    person[60:150, 120:160] = 30
    gate.moves(person, 3.1)
    brighter = np.clip(pictures[32] * 1.1, 0, 255).astype(np.uint8)
    assert gate.is_empty(pictures[30])
    assert gate.is_empty(brighter)
    assert not gate.is_empty(person)
    assert not gate.is_empty(pictures[33][:90])
