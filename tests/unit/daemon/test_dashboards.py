"""Dashboard, alert rules, runbook and the list of metrics speak of what there is."""

import json
import re
from datetime import UTC, datetime

import pytest

from cameras.observer import CameraState
from daemon.events import CameraStateChanged
from daemon.runtime.gauges import GAUGES
from daemon.runtime.metrics import Metrics
from daemon.runtime.store_health import GALLERY_KINDS
from store.mongo.shapes import SHAPES
from tests.dashboards import (
    DASHBOARD,
    ROOT,
    RULES_TEST,
    Matcher,
    Selector,
    alerts,
    filled_in,
    panel_queries,
    parsed,
)

OF_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus adds to every series; our own `job` becomes `exported_job`."""

QUERIES = [*panel_queries(), *((alert.name, alert.expression) for alert in alerts())]


def a_days_work() -> Metrics:
    """Every metric has been fed."""
    metrics = Metrics(version="0", pack="p", runtime="r")
    metrics.add_camera("door")
    metrics.add_job("doctor")
    metrics.count_event(CameraStateChanged("door", CameraState.GREEN, ""))
    metrics.operation("faces.find", 0.1)
    metrics.error("faces.find", "StoreUnavailableError")
    metrics.event_dropped("visit log")
    for outcome in ("delivered", "retried", "dead"):
        metrics.delivery("alarm", outcome)
    metrics.deliveries_waiting("alarm", 1, 2.0)
    metrics.frame_age("door", datetime.now(UTC))
    values = {None: ("",), "state": ("live", "total"), "gallery_kind": GALLERY_KINDS, "camera": ("door",)}
    values["collection"] = tuple(SHAPES)
    values["folder"] = ("/srv",)
    for name, (_, label) in GAUGES.items():
        metrics.gauges.add(name, lambda label=label: dict.fromkeys(values[label], 1))
    return metrics


@pytest.fixture(scope="module")
def series() -> dict[str, list[dict[str, str]]]:
    """The labels of every series that Prometheus gets to see, by the series' name."""
    found: dict[str, list[dict[str, str]]] = {"up": [{}], "ALERTS": [{"alertname": "FacendDown"}]}
    found["ALERTS"][0]["alertstate"] = "firing"
    for family in a_days_work().registry.collect():
        for sample in family.samples:
            labels = {"exported_job" if name == "job" else name: it for name, it in sample.labels.items()}
            found.setdefault(sample.name, []).append(labels)
    return found


def fits(matcher: Matcher, labels: dict[str, str]) -> bool:
    value = labels[matcher.label]
    if matcher.sign in ("=~", "!~"):
        return re.fullmatch(matcher.value, value) is not None
    return value == matcher.value


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_a_query_names_what_there_is(title, query, series):
    """Each metric exists, with each of the labels and values that the query looks for."""
    query = parsed(filled_in(query))
    assert query.selectors, f"{title} asks for no metric"
    for selector in query.selectors:
        assert selector.metric in series, f"{title}: there is no metric {selector.metric}"
        for matcher in selector.matchers:
            if matcher.label in OF_PROMETHEUS:
                continue
            known = series[selector.metric]
            assert matcher.label in known[0], f"{title}: {selector.metric} has no label {matcher.label}"
            values = matcher.value.split("|") if "~" in matcher.sign else [matcher.value]
            for value in values:
                one = matcher._replace(value=value)
                assert any(fits(one, labels) for labels in known), f"{title}: no series fits {one}"
    labels = {label for one in query.selectors for labels in series[one.metric] for label in labels}
    assert query.grouped_by <= labels | OF_PROMETHEUS, f"{title}: groups by a label that nothing has"


def test_queries_are_understood():
    """The reader of queries finds metrics and labels wherever PromQL has them."""
    query = parsed(
        'sum by (a, le) (rate(m_total{x="1",y=~"2|3"}[5m])) / ignoring (b) n offset 1d > 1e3 and o'
    )
    assert [selector.metric for selector in query.selectors] == ["m_total", "n", "o"]
    assert query.selectors[0] == Selector("m_total", (Matcher("x", "=", "1"), Matcher("y", "=~", "2|3")))
    assert query.grouped_by == {"a", "le", "b"}


def test_each_alert_has_its_section_in_the_runbook():
    """The link of an alert leads to a section of that name, and no section is about an alert that is gone."""
    sections = re.findall(r"^## (Facend\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(alert.name for alert in alerts())
    for alert in alerts():
        assert alert.runbook == f"docs/runbook.md#{alert.name.lower()}"


def test_each_alert_has_a_test_in_which_it_fires():
    """promtool's tests expect every alert to fire once, and to be silent once."""
    text = RULES_TEST.read_text()
    for alert in alerts():
        question = rf"""alertname="{alert.name}",alertstate="firing"}}'\n +eval_time: \S+\n +exp_samples: """
        assert re.search(question + r"\[\{", text), f"{alert.name} fires in no test"
        assert re.search(question + r"\[\]", text), f"{alert.name} is silent in no test"


def test_the_dashboard_asks_the_chosen_prometheus():
    """No panel has a fixed data source, none overlaps another, and each can be filtered by box."""
    dashboard = json.loads(DASHBOARD.read_text())
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert "$instance" in target["expr"] or "ALERTS" in target["expr"], panel["title"]
    variables = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert variables == ["datasource", "instance", "camera"]
    for variable in dashboard["templating"]["list"][1:]:
        metric = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", variable["query"]["query"])
        assert metric, variable["name"]


def test_the_list_of_metrics_is_complete():
    """docs/metrics.md names every metric of ours with its kind and its labels, and no other."""
    told = {}
    for line in (ROOT / "docs" / "metrics.md").read_text().splitlines():
        if row := re.fullmatch(r"\| `(facend_\w+)` \| (\w+) \|([^|]*)\| ([^|]+) \| ([^|]+) \|", line):
            name, kind, labels, unit, meaning = (part.strip() for part in row.groups())
            assert unit and meaning, name
            told[name] = (kind, set(re.findall(r"\w+", labels)))
    there = {}
    for family in a_days_work().registry.collect():
        if family.name.startswith("facend_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            there[name] = (family.type, set(family.samples[0].labels) - {"le"})
    assert told == there


@pytest.mark.parametrize("label", ["state", "reason", "stage", "outcome", "gallery_kind"])
def test_the_values_of_a_label_are_listed(label):
    """docs/metrics.md lists each value of a label that has only a few."""
    line = re.search(rf"^\| `{label}` \|.*$", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    assert line, f"{label} is not explained"
    values = {
        sample.labels[label]
        for family in a_days_work().registry.collect()
        for sample in family.samples
        if label in sample.labels
    }
    assert values == set(re.findall(r"`(\w+)`", line[0])) - {label}
