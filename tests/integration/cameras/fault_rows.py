"""Every fault of docs/cameras.md, played against real servers: what a camera has to show, and how it heals.

Each row gets a `Stage` and begins its fault, says what must show, ends the fault, and says that frames must
come again. The rows run side by side, each with a camera (and mostly a proxy) of its own; they mostly wait.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.integration.cameras.fault_stage import (
    BACK,
    GREEN,
    GREY,
    HEALED_SECONDS,
    LOST,
    RED,
    SLOW_START_SECONDS,
    VISIBLE_SECONDS,
    YELLOW,
    Stage,
    as_h265,
    corruption,
    heals,
    jpeg_camera,
    keeps_time,
    loss,
    repeated,
    shifted,
    shows,
    stays_green,
)
from tests.tcp_proxy import Spoil


@dataclass(frozen=True)
class Row:
    name: str
    play: Callable[[Stage], None]
    lines: tuple[str, ...]
    """What is logged of its first camera, beside that it is connected."""


ROWS: list[Row] = []


def row(*lines: str) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    def add(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        ROWS.append(Row(play.__name__.replace("_", "-"), play, lines))
        return play

    return add


@row(LOST, BACK)
def killed(stage: Stage) -> None:
    """The camera is switched off, and on again."""
    camera = stage.green(url=stage.mortal.url("hall"))
    stage.mortal.kill()
    shows(camera, "refused", YELLOW)
    stage.mortal.start()
    heals(camera)
    assert camera.reconnects[0] == "ended"


@row(LOST, BACK)
def frozen(stage: Stage) -> None:
    """The connection stays open, and no data arrives."""
    proxy = stage.proxy()
    camera = stage.green(proxy=proxy)
    proxy.freeze()
    shows(camera, "stalled", YELLOW)
    proxy.thaw()
    heals(camera)
    assert camera.reconnects == []


@row(LOST, BACK)
def half_open(stage: Stage) -> None:
    """The camera is away without a word, then there for new connections, and the old one stays silent; a
    first time while pictures come, and with another camera while it is being opened."""
    proxy = stage.proxy()
    camera = stage.green(proxy=proxy)
    proxy.freeze()
    shows(camera, "stalled", YELLOW)
    proxy.forget()
    heals(camera)
    assert camera.reconnects == ["stalled"], camera.reconnects
    another_proxy = stage.proxy()
    another_proxy.freeze()
    opening = stage.camera(proxy=another_proxy)
    shows(opening, "connecting", YELLOW)
    time.sleep(VISIBLE_SECONDS)
    another_proxy.forget()
    heals(opening)
    assert opening.reconnects == ["stalled"], opening.reconnects


@row(LOST, BACK)
def cut(stage: Stage) -> None:
    """The connection breaks repeatedly; it is logged once a minute."""
    proxy = stage.proxy()
    camera = stage.green(proxy=proxy)
    for times in range(1, 4):
        proxy.cut()
        camera.wait_for(lambda status, times=times: status.reconnects >= times, VISIBLE_SECONDS)
        heals(camera)


@row(LOST, BACK)
def wrong_password(stage: Stage) -> None:
    """Until the camera's password is changed to the one in the settings."""
    camera = stage.camera(url=stage.server.url("hall", "late:n3w"))
    shows(camera, "unauthorized", RED)
    stage.server.command("login", "late", "n3w")
    heals(camera)


@row(LOST, BACK)
def not_found(stage: Stage) -> None:
    """The path is removed, and added again."""
    stage.server.command("mount", "attic", "hall")
    proxy = stage.proxy()
    camera = stage.green("attic", proxy)
    stage.server.command("unmount", "attic")
    proxy.cut()
    shows(camera, "not_found", RED)
    stage.server.command("mount", "attic", "hall")
    heals(camera)


@row(LOST, BACK)
def refused(stage: Stage) -> None:
    """The port refuses connections, then accepts them."""
    proxy = stage.proxy(listening=False)
    camera = stage.camera(proxy=proxy)
    shows(camera, "refused", RED)
    proxy.listen()
    heals(camera)


@row(LOST, BACK)
def slow_start(stage: Stage) -> None:
    """A wait of ten seconds for the first key frame is no failure."""
    stage.server.command("late", "late", "late")
    camera = stage.camera("late")
    began = time.monotonic()
    status = shows(camera, "connecting", YELLOW)
    assert status.frames_decoded == 0
    camera.wait_for(lambda status: status.state is GREEN, SLOW_START_SECONDS + HEALED_SECONDS)
    assert time.monotonic() - began > SLOW_START_SECONDS - 1.5
    assert camera.reconnects == []


def _damaged(stage: Stage, spoil: Spoil) -> None:
    proxy = stage.proxy()
    camera = stage.green("loud", proxy)
    proxy.spoil = spoil
    shows(camera, "corrupt", YELLOW)
    proxy.spoil = None
    heals(camera)
    assert camera.reconnects == []


DAMAGED, WHOLE = "camera sends damaged pictures", "camera's pictures are whole again"


@row(DAMAGED, WHOLE)
def packet_loss(stage: Stage) -> None:
    """Every tenth packet is lost."""
    _damaged(stage, loss)


@row(DAMAGED, WHOLE)
def corrupted_payload(stage: Stage) -> None:
    """Bytes in a third of the packets are wrong."""
    _damaged(stage, corruption)


@row(LOST, BACK)
def link_too_slow(stage: Stage) -> None:
    """A link with a hundredth of the stream's bit rate, and then enough for all of it."""
    proxy = stage.proxy()
    camera = stage.green("loud", proxy)
    proxy.bytes_per_second = 2000
    shows(camera, "stalled", YELLOW)
    proxy.bytes_per_second = None
    heals(camera)


@row()
def link_with_delay(stage: Stage) -> None:
    """An additional delay of half a second is no failure."""
    proxy = stage.proxy()
    camera = stage.green(proxy=proxy)
    proxy.delay_seconds = 0.5
    stays_green(camera, 4)


@row("camera changed its picture's size")
def size_change(stage: Stage) -> None:
    """In mid-stream, without a break."""
    stage.server.command("mount", "growing", "hall")
    camera = stage.green("growing")
    stage.server.command("play", "growing", "big")
    camera.wait_for(lambda status: (status.width, status.height) == (320, 240), VISIBLE_SECONDS)
    stays_green(camera, 1)
    assert camera.reconnects == []


@row(LOST, BACK)
def codec_change(stage: Stage) -> None:
    """H.264 becomes H.265. The camera ends the connection, as most cameras do, or continues with the old
    description."""
    stage.server.command("mount", "changing", "hall")
    proxy = stage.proxy()
    camera = stage.green("changing", proxy)
    assert camera.handler.status.codec == "h264"
    stage.server.command("mount", "changing", "hevc")
    proxy.cut()
    # Frames from before the cut may still be decoded.
    camera.wait_for(lambda status: status.state is GREEN and status.codec == "hevc", HEALED_SECONDS)
    another_proxy = stage.proxy()
    goes_on = stage.green(proxy=another_proxy)
    another_proxy.spoil = as_h265
    shows(goes_on, "stalled", YELLOW)
    another_proxy.spoil = None
    heals(goes_on)


def _with_timestamps(stage: Stage, *spoils: Spoil) -> None:
    """Each of them for a while, and true ones in between: frames go on, dated now."""
    proxy = stage.proxy()
    camera = stage.green(proxy=proxy)
    for spoil in spoils:
        proxy.spoil = spoil
        keeps_time(camera, 2)
        proxy.spoil = None
        keeps_time(camera, 1.5)


@row()
def timestamps_ahead(stage: Stage) -> None:
    """Timestamps jump an hour ahead, and back."""
    _with_timestamps(stage, shifted(3600))


@row()
def timestamps_back(stage: Stage) -> None:
    """Timestamps jump back by an hour, and by seconds."""
    _with_timestamps(stage, shifted(-3600), shifted(-4))


@row()
def timestamps_repeat(stage: Stage) -> None:
    """All pictures have the same timestamp."""
    _with_timestamps(stage, repeated())


@row()
def timestamps_missing(stage: Stage) -> None:
    """A camera that sends JPEG over HTTP, without timestamps."""
    with jpeg_camera() as url:
        camera = stage.green(url=url)
        frames = keeps_time(camera, 2)
        assert abs(frames[-1].media_time - frames[0].media_time - 2) < 0.5
        camera.handler.stop(5)


@row(LOST, BACK)
def audio_only(stage: Stage) -> None:
    """Audio without video, until the video is switched on."""
    stage.server.command("mount", "deaf", "audio")
    camera = stage.camera("deaf")
    shows(camera, "no_video", RED)
    stage.server.command("mount", "deaf", "hall")
    heals(camera)


@row()
def sixty_a_second(stage: Stage) -> None:
    """Every frame is decoded; frames that are not analysed are counted."""
    camera = stage.green("fast")
    before = camera.handler.status.frames_decoded
    stays_green(camera, 3)
    assert camera.handler.status.frames_decoded - before > 3 * 60 * 0.7


@row(LOST, BACK)
def one_in_five_seconds(stage: Stage) -> None:
    """A slow camera becomes green with its first picture, and stays green."""
    camera = stage.camera("slow")
    shows(camera, "connecting", YELLOW)
    camera.wait_for(lambda status: status.state is GREEN, 15)
    before = camera.handler.status.frames_decoded
    stays_green(camera, 11)
    assert camera.handler.status.frames_decoded > before, camera.handler.status
    assert camera.reconnects == []


@row("recording was played to its end")
def file_ends(stage: Stage) -> None:
    """The camera is grey; that is no failure."""
    camera = stage.camera(url=str(stage.clips["big"]), max_fps=0.01)  # nothing takes its frames
    camera.wait_for(lambda status: status.state is GREY and status.reason == "ended", 10)


@row(LOST, BACK)
def endless_connect(stage: Stage) -> None:
    """The connection is accepted, but nothing is sent."""
    proxy = stage.proxy()
    proxy.freeze()
    camera = stage.camera(proxy=proxy)
    shows(camera, "connecting", YELLOW)
    time.sleep(VISIBLE_SECONDS)
    proxy.thaw()
    heals(camera)
