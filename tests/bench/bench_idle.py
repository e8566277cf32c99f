"""What idle cameras cost beside decoding alone: their own threads, and the analysis.

python -m tests.bench.bench_idle [--json] [--cameras 2] [--seconds 60] [--decode keyframes] [--clip hall.mp4]

All in one process at the same time, so that whatever else the machine does meets both sides alike: the
cameras as the daemon runs them, and as many threads that decode the same clip at the same pace. Time is the
threads' own on the processor. No event loop, no store.
"""

import asyncio
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import structlog

from cameras.clips.decode_benchmark import DecodeCost, decode, frame_rate
from cameras.settings import CameraSettings
from daemon.analysis import Analysis
from daemon.benchmarks.camera_clips import hall_clip
from daemon.config.settings import PipelineSettings
from daemon.events import EventBus
from daemon.runtime.metrics import Metrics
from daemon.supervisor import Supervisor
from store.spool.spool import Spool
from tests.bench.rows import Row, arguments, show
from tests.faces import default_models

WARM_SECONDS = 8.0
"""Until the scene is known, more is looked at."""


def crashed(error: BaseException) -> None:
    print(f"the analysis crashed: {error!r}", file=sys.stderr)


def spent(name: str) -> float:
    """Seconds on the processor of all threads whose name begins so."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(name)]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0)) for thread in threads)


def bare(clip: Path, count: int, seconds: float) -> list[DecodeCost]:
    done: list[DecodeCost] = []
    threads = [
        threading.Thread(target=lambda: done.append(decode(clip, seconds, paced=True))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


async def measure(cameras: Sequence[CameraSettings], clip: Path, seconds: float) -> Sequence[Row]:
    metrics = Metrics(version="", pack="", runtime="")
    with tempfile.TemporaryDirectory(prefix="facend-") as folder:
        analysis = Analysis(Spool(Path(folder), 2**20, metrics), metrics, crashed)
        supervisor = Supervisor(default_models(), PipelineSettings(), analysis, metrics, EventBus())
        analysis.start()
        await supervisor.apply(cameras)
        await asyncio.sleep(WARM_SECONDS)
        before = spent("camera "), spent("analysis"), frames_of(supervisor)
        alone = await asyncio.to_thread(bare, clip, len(cameras), seconds)
        own, looking = spent("camera ") - before[0], spent("analysis") - before[1]
        frames = frames_of(supervisor) - before[2]
        await supervisor.stop(2.0)
        analysis.stop(5.0)
    # A machine that is short of time decodes fewer frames; a camera that dozes always keeps up.
    how = cameras[0].decode
    passed = mean(one.seconds for one in alone)
    due = frames if how == "all" else passed * frame_rate(clip) * len(cameras)
    base = sum(one.cpu_seconds for one in alone) / sum(one.frames for one in alone)
    case = f"{len(cameras)} cameras, {how}"
    return [
        Row.compare(figure, case, time_spent / due * 1e6, "µs a frame", base * 1e6)
        for figure, time_spent in (
            ("the cameras' threads", own),
            ("the analysis", looking),
            ("both, beside decoding", own + looking),
        )
    ]


def frames_of(supervisor: Supervisor) -> int:
    return sum(camera.frames_decoded for camera in supervisor.status())


def main() -> None:
    parser = arguments("the cost of idle cameras")
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--decode", choices=("all", "keyframes"), default="all")
    parser.add_argument("--clip", type=Path)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="facend-") as folder:
        clip = given.clip or hall_clip(Path(folder, "hall.mp4"), 0.0).path
        url = clip.absolute().as_uri()
        cameras = [
            CameraSettings(id=f"c{number}", url=url, loop=True, decode=given.decode)
            for number in range(given.cameras)
        ]
        rows = asyncio.run(measure(cameras, clip, given.seconds))
    show(rows, as_json=given.json)


if __name__ == "__main__":
    main()
