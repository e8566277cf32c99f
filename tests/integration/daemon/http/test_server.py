import asyncio

import httpx
import pytest
import uvicorn

from cameras.observer import CameraState
from daemon.errors import SettingsError, StartError
from daemon.events import CameraStateChanged
from daemon.http.server import application, listen, serving
from daemon.runtime.metrics import Metrics


class Reported:
    """A daemon's health, as a test wants it."""

    def __init__(self, stuck: str = "", not_ready: str = "") -> None:
        self._stuck, self._not_ready = stuck, not_ready

    def stuck(self) -> str:
        return self._stuck

    def not_ready(self) -> str:
        return self._not_ready

    def status(self) -> dict[str, object]:
        return {"cameras": [{"id": "door", "state": "green"}]}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1.2.3", pack="opencv-zoo", runtime="onnxruntime")


async def fetch(
    metrics: Metrics, health: Reported, path: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    app = application(metrics.registry, health)
    async with (
        serving(app, "127.0.0.1", 0) as address,
        httpx.AsyncClient(base_url=address) as client,
    ):
        return await client.get(path, headers=headers)


async def test_metrics_are_served_in_the_format_of_prometheus(metrics):
    """A scrape sees what was counted, under the promised name."""
    metrics.count_event(CameraStateChanged("door", CameraState.GREEN, ""))
    metrics.gauges.add("facend_spool_sightings", lambda: {"": 3})
    answer = await fetch(metrics, Reported(), "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'facend_build_info{pack="opencv-zoo",runtime="onnxruntime",version="1.2.3"} 1.0' in answer.text
    assert 'facend_camera_state{camera="door",state="green"} 1.0' in answer.text
    assert 'facend_camera_state{camera="door",state="red"} 0.0' in answer.text
    assert "facend_spool_sightings 3.0" in answer.text


@pytest.mark.parametrize("version", ["abc", "1.", "9" * 5000])
async def test_who_asks_for_a_format_that_is_none_gets_the_usual_one(metrics, version):
    """A malformed header does not fail a scrape."""
    headers = {"accept": f"application/openmetrics-text; version={version}"}
    answer = await fetch(metrics, Reported(), "/metrics", headers)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "facend_build_info" in answer.text


@pytest.mark.parametrize(
    ("health", "path", "status", "text"),
    [
        (Reported(), "/healthz", 200, "ok"),
        (Reported(), "/readyz", 200, "ok"),
        (Reported(not_ready="mongod is away"), "/healthz", 200, "ok"),
        (Reported(not_ready="mongod is away"), "/readyz", 503, "mongod is away"),
        (Reported(stuck="analysis hangs"), "/healthz", 503, "analysis hangs"),
        (Reported(stuck="analysis hangs"), "/readyz", 503, "analysis hangs"),
    ],
)
async def test_health_says_alive_and_ready_apart(metrics, health, path, status, text):
    """A store that is away makes the daemon not ready, but not dead; the reason is in the answer."""
    answer = await fetch(metrics, health, path)
    assert (answer.status_code, answer.text.strip()) == (status, text)


async def test_status_is_json(metrics):
    """/status answers with what the daemon says of itself."""
    answer = await fetch(metrics, Reported(), "/status")
    assert answer.json() == {"cameras": [{"id": "door", "state": "green"}]}


async def test_a_taken_port_is_one_clear_line(metrics):
    """Host and port are named, and the keys to change."""
    app = application(metrics.registry, Reported())
    async with serving(app, "127.0.0.1", 0) as address:
        port = int(address.rsplit(":", 1)[1])
        with pytest.raises(StartError, match=rf"127\.0\.0\.1 port {port} .*http\.port"):
            async with serving(app, "127.0.0.1", port):
                pytest.fail("listening twice")


def test_a_host_that_is_no_address_is_a_fault_of_the_settings():
    """Trying again would not help: exit status 2."""
    with pytest.raises(SettingsError, match=r"http\.host = 'no such host': not an address of this machine"):
        listen("no such host", 0)


async def test_beyond_this_machine_only_health_is_for_everybody(metrics):
    """With a token, metrics, status and the index want it; a wrong one or another scheme is refused."""
    app = application(metrics.registry, Reported(), token="s3cret")  # noqa: S106  of this test
    async with (
        serving(app, "127.0.0.1", 0) as address,
        httpx.AsyncClient(base_url=address) as client,
    ):
        for path in ("/", "/metrics", "/status"):
            for wrong in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": "Token s3cret"}):
                refused = await client.get(path, headers=wrong)
                assert refused.status_code == 401, (path, wrong)
                assert refused.headers["www-authenticate"] == "Bearer"
            assert (await client.get(path, headers={"Authorization": "Bearer s3cret"})).status_code == 200
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "LocalHost:9464"}, 200),
        ({"Host": "localhost."}, 200),
        ({"Host": "127.8.9.10"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "box.lan:9464"}, 200),
        ({"Host": "evil.example:9464"}, 403),
        ({"Host": "192.168.1.5"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
async def test_without_a_token_only_names_of_this_machine_are_answered(metrics, headers, status):
    """A web page whose name leads to this machine reads nothing; health is open to all."""
    app = application(metrics.registry, Reported(), allowed_hosts=["box.LAN"])
    async with (
        serving(app, "127.0.0.1", 0) as address,
        httpx.AsyncClient(base_url=address) as client,
    ):
        for path in ("/", "/metrics", "/status"):
            answer = await client.get(path, headers=headers)
            assert answer.status_code == status, path
            assert status == 200 or "http.allowed_hosts" in answer.text
        if status == 403:
            assert (await client.get("/healthz", headers=headers)).status_code == 200


async def test_a_token_makes_the_name_of_the_machine_irrelevant(metrics):
    """Who has the token may ask under any name; in UTF-8 and in Latin-1."""
    app = application(metrics.registry, Reported(), token="geheimes-wort-äöü")  # noqa: S106  of this test
    async with (
        serving(app, "127.0.0.1", 0) as address,
        httpx.AsyncClient(base_url=address) as client,
    ):
        for encoding in ("utf-8", "latin-1"):
            token = "Bearer geheimes-wort-äöü".encode(encoding)
            headers = [(b"host", b"evil.example"), (b"authorization", token)]
            assert (await client.get("/status", headers=headers)).status_code == 200


@pytest.mark.parametrize("error", [RuntimeError("a fault"), None])
async def test_a_server_that_ends_by_itself_ends_the_daemon(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """The event loop's exception handler gets the failure, as that of every supervised task."""
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))

    async def serve(_server: uvicorn.Server, **_options: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(uvicorn.Server, "serve", serve)
    async with serving(application(metrics.registry, Reported()), "127.0.0.1", 0):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [context["supervised"] for context in failures] == ["http"]
