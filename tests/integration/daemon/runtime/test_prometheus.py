"""A real Prometheus server reads a real daemon, and dashboard and alert rules find what they ask for."""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cameras.clips.write import write_clip
from daemon.demo.clip import FPS, demo_frames, sample_picture
from tests.daemon_process import busy_camera, daemon, free_port, wait_for, write_settings
from tests.dashboards import RULES, RULES_TEST, alerts, filled_in, panel_queries

CLIP_FRAMES = 120
"""Eight seconds of the demo clip, in which the first of the six walks by."""

QUERIES = list(panel_queries())

EMPTY_WHERE_NOTHING_FAILED = {"Store errors a minute", "Restarts"}


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    """Skip, loudly, where Prometheus is not installed; with CI=true fail."""
    if missing := [name for name in ("prometheus", "promtool") if shutil.which(name) is None]:
        message = f"NO {' AND NO '.join(missing).upper()}: these tests need Debian's package prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


class Prometheus:
    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        """What its HTTP API answers; None where it does not answer yet."""
        url = f"{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a server of our own
                reply = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        except urllib.error.URLError:
            return None
        assert reply["status"] == "success", reply
        return reply["data"]

    def ask(self, query: str) -> list[dict[str, Any]]:
        return self.get("query", query=query)["result"]


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """A server with our rules that reads one daemon every second."""
    folder.mkdir()
    settings = folder / "prometheus.yml"
    settings.write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{json.dumps(str(RULES))}]\n"
        f"scrape_configs: [{{job_name: facend, static_configs: [{{targets: [{json.dumps(target)}]}}]}}]\n"
    )
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={settings}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stderr=log, stdout=log, stdin=subprocess.DEVNULL) as server,
    ):
        try:
            yield Prometheus(port)
        finally:
            server.kill()


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped a daemon from its start until it matched a person."""
    folder = tmp_path_factory.mktemp("prometheus")
    clip = folder / "clip.mp4"
    frames = demo_frames(sample_picture())
    write_clip(clip, (frame for frame, _ in zip(frames, range(CLIP_FRAMES), strict=False)), FPS)
    with daemon(write_settings(folder, [busy_camera("hall", clip)])) as process:
        target = process.running().address.removeprefix("http://")
        with prometheus(folder / "server", target) as server:
            process.ready()
            process.stores(5, 60)
            wait_for("some seconds of it", lambda: _seconds(server) >= 10, 60, pause=0.5)
            yield server


def _seconds(server: Prometheus) -> float:
    """For how long Prometheus has seen sightings being stored."""
    found = server.get("targets") and server.ask(
        'max_over_time(timestamp(facend_sightings_total{outcome="stored"} > 5)[1h:1s])'
        ' - min_over_time(timestamp(facend_sightings_total{outcome="stored"} > 5)[1h:1s])'
    )
    return float(found[0]["value"][1]) if found else 0.0


def test_promtool_finds_the_rules_correct():
    """Names, expressions, labels and templates of the rules are what Prometheus accepts."""
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_only_then():
    """Each alert's own test: what makes it fire, and what does not yet."""
    done = subprocess.run(
        ["promtool", "test", "rules", RULES_TEST.name],
        capture_output=True,
        text=True,
        check=False,
        cwd=RULES_TEST.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_the_daemon(scraped):
    """The target is up and none of its lines is refused."""
    (target,) = scraped.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_a_panel_shows_something(scraped, title, query):
    """Every query of the dashboard is answered with numbers; those about failures may be empty."""
    found = scraped.ask(filled_in(query))
    assert found or title in EMPTY_WHERE_NOTHING_FAILED
    assert all(series["value"][1] != "NaN" for series in found) or "quantile" in query, found


def test_the_panels_tell_what_happened(scraped):
    """The numbers are those of the daemon: one green camera, its frames, visits and persons."""
    shown = {
        series["metric"]["state"]: series["value"][1]
        for series in scraped.ask("sum by (state) (facend_camera_state)")
    }
    assert shown == {"green": "1", "yellow": "0", "red": "0", "grey": "0"}
    for counted in ("frames_decoded", "frames_analysed", "faces_detected", "visits"):
        assert float(scraped.ask(f"sum(facend_{counted}_total)")[0]["value"][1]) > 0, counted
    stages = scraped.ask("sum by (stage) (facend_stage_seconds_count) > 0")
    assert {series["metric"]["stage"] for series in stages} == {
        *("decode", "convert", "motion", "detect", "track", "quality"),
        *("embed", "identify", "store", "upload"),
    }
    assert scraped.ask('increase(facend_persons_total{outcome="matched"}[1h]) > 0')
    assert not scraped.ask('{__name__=~".+_created"}')


def test_no_alert_is_raised_where_nothing_is_wrong(scraped):
    """Prometheus evaluates every rule without a fault, and none fires or is about to."""
    groups = scraped.get("rules")["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert sorted(rules) == sorted(alert.name for alert in alerts())
    for alert in alerts():
        rule = rules[alert.name]
        assert (rule["health"], rule.get("lastError", "")) == ("ok", "")
        assert rule["annotations"]["runbook_url"] == alert.runbook
        assert scraped.ask(alert.expression) == [], f"{alert.name} holds on a healthy daemon"
        assert rule["state"] == "inactive"
