"""How fast events reach their receivers, and what waiting ones cost.

python -m tests.bench.bench_events [--json] [--parts first-sight queue sinks] [--seconds 60] [--events 100000]

first-sight: the whole daemon on 8 cameras with visitors; from the begin of a visit to its first message.
queue: memory of a process before and after 100,000 events wait for a receiver that is down.
sinks: 1,000 events a minute to 5 receivers, one of which is down; from the event to its message.
"""

import asyncio
import json
import resource
import socket
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles

import structlog

from daemon.demo.clip import make_demo_clip
from daemon.events.bus import EventBus
from daemon.events.delivery import EventDelivery
from daemon.events.sinks.settings import WebhookSettings
from store import Context, StoreSettings
from store.outbox.events import NewEvent, Outbox
from tests.bench.rows import Row, arguments, show
from tests.daemon_process import daemon, write_settings
from tests.receivers import WebhookReceiver, receiving
from tests.rtsp import rtsp_server

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CAMERAS = 8
EVENTS_A_MINUTE = 1000
RECEIVERS = 5
AT_ONCE = 1000
FIRST_SIGHT_SECONDS, CLEAR_SECONDS, QUEUE_BYTES = 2.0, 4.0, 50e6
"""What the figures are compared with."""


class Uncounted:
    def delivery(self, sink: str, outcome: str) -> None: ...
    def deliveries_waiting(self, sink: str, pending: int, oldest_seconds: float) -> None: ...


def hook(name: str, url: str) -> WebhookSettings:
    return WebhookSettings.model_validate({"name": name, "url": url, "secret": KEY})


def delays(receiver: WebhookReceiver, since: str, kind: str, clock: float) -> list[float]:
    """From the time in the first message of each visit or event to its arrival. `clock`: wall − monotonic."""
    found: dict[str, float] = {}
    for (_, body), at in zip(receiver.got, receiver.at, strict=True):
        message = json.loads(body)
        if message["type"] != kind:
            continue
        start = message["visit"]["started_at"] if since == "visit" else message["time"]
        key = message["visit"]["id"] if since == "visit" else message["id"]
        found.setdefault(key, at + clock - datetime.fromisoformat(start).timestamp())
    return list(found.values())


def p95(figure: str, case: str, seconds: list[float], goal: float) -> Row:
    value = quantiles(seconds, n=20)[-1] if len(seconds) > 1 else float("nan")
    return Row.compare(figure, f"{case}, {len(seconds)} of them", value, "s", goal)


def measure_first_sight(seconds: float) -> list[Row]:
    names = [f"cam{number}" for number in range(CAMERAS)]
    with tempfile.TemporaryDirectory(prefix="facend-") as folder, ExitStack() as stack:
        clip = Path(folder, "clip.mp4")
        make_demo_clip(clip)
        server = stack.enter_context(rtsp_server(dict.fromkeys(names, clip)))
        receiver = stack.enter_context(receiving())
        cameras = [{"id": name, "url": server.url(name)} for name in names]
        settings = write_settings(Path(folder), cameras, log_level="info")
        with settings.open("a") as file:
            file.write(f'\n[[webhooks]]\nname = "bench"\nurl = "{receiver.url}"\nsecret = "{KEY}"\n')
        process = stack.enter_context(daemon(settings)).ready(300)
        clock = time.time() - time.monotonic()
        time.sleep(seconds)
        first = delays(receiver, "visit", "visit.started", clock)
        clear = delays(receiver, "visit", "visit.updated", clock)
        assert process.alive
    return [
        p95("first sight p95", f"{CAMERAS} cameras", first, FIRST_SIGHT_SECONDS),
        p95("identity clear p95", f"{CAMERAS} cameras", clear, CLEAR_SECONDS),
    ]


async def measure_queue(events: int) -> list[Row]:
    with socket.socket() as closed, tempfile.TemporaryDirectory(prefix="facend-") as folder:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        async with Context.open(StoreSettings(), data_dir=Path(folder), load_facens=False) as ctx:
            user = await ctx.users.add({})
            outbox = Outbox(ctx.database, user["_id"], ctx.box)
            async with EventDelivery([hook("down", url)], EventBus(), Uncounted()).running(ctx, user):
                await write(outbox, "first", AT_ONCE)
                before = peak_bytes()
                await write(outbox, "more", events)
                while await outbox.unrouted(1):  # noqa: ASYNC110 - a look from outside
                    await asyncio.sleep(0.2)
                after = peak_bytes()
    return [Row.compare("memory of waiting events", f"{events} events", after - before, "bytes", QUEUE_BYTES)]


async def measure_sinks(seconds: float) -> list[Row]:
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="facend-") as folder:
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        receivers = [stack.enter_context(receiving()) for _ in range(RECEIVERS - 1)]
        hooks = [hook(f"alive{number}", one.url) for number, one in enumerate(receivers)]
        hooks.append(hook("down", f"http://127.0.0.1:{closed.getsockname()[1]}/"))
        async with Context.open(StoreSettings(), data_dir=Path(folder), load_facens=False) as ctx:
            user = await ctx.users.add({})
            outbox = Outbox(ctx.database, user["_id"], ctx.box)
            clock = time.time() - time.monotonic()
            async with EventDelivery(hooks, EventBus(), Uncounted()).running(ctx, user):
                number = int(seconds / 60 * EVENTS_A_MINUTE)
                for place in range(number):
                    await write(outbox, f"event {place}", 1)
                    await asyncio.sleep(60 / EVENTS_A_MINUTE)
                while min(len(one.got) for one in receivers) < number:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
        all_delays = [
            one for receiver in receivers for one in delays(receiver, "event", "camera.down", clock)
        ]
    case = f"{RECEIVERS} receivers, one down"
    return [p95("delay of events p95", case, all_delays, FIRST_SIGHT_SECONDS)]


async def write(outbox: Outbox, name: str, number: int) -> None:
    for start in range(0, number, AT_ONCE):
        now = datetime.now(UTC)
        chunk = range(start, min(start + AT_ONCE, number))
        await outbox.add([NewEvent("camera.down", f"{name} {one}", now, f"cam{one % 100}") for one in chunk])


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    parser = arguments(__doc__ or "")
    parts = ("first-sight", "queue", "sinks")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--events", type=int, default=100_000)
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    rows: list[Row] = []
    if "queue" in chosen.parts:
        rows += asyncio.run(measure_queue(chosen.events))
    if "sinks" in chosen.parts:
        rows += asyncio.run(measure_sinks(chosen.seconds))
    if "first-sight" in chosen.parts:
        rows += measure_first_sight(chosen.seconds)
    show(rows, as_json=chosen.json)
