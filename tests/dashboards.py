"""The Prometheus queries of the dashboard and the alert rules."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DASHBOARD = ROOT / "dashboards" / "facend.json"
RULES = ROOT / "dashboards" / "rules.yml"
RULES_TEST = ROOT / "dashboards" / "rules_test.yml"

_WORDS = {
    *("and", "or", "unless", "bool", "offset", "by", "without"),
    *("on", "ignoring", "group_left", "group_right"),
}
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_TOKEN = re.compile(
    r"""(?P<text>"[^"]*"|'[^']*') | (?P<number>[0-9][0-9a-zA-Z.]*) | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<sign>=~|!~|!=|[=(){}\[\],]) | (?P<other>\S)""",
    re.VERBOSE,
)


class Alert(NamedTuple):
    name: str
    expression: str
    runbook: str


class Matcher(NamedTuple):
    label: str
    sign: str
    value: str


class Selector(NamedTuple):
    """A metric's name in a query, with its conditions on labels."""

    metric: str
    matchers: tuple[Matcher, ...]


class Query(NamedTuple):
    selectors: tuple[Selector, ...]
    grouped_by: frozenset[str]


def panel_queries() -> Iterator[tuple[str, str]]:
    """The title and each query of each panel, with Grafana's variables."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def filled_in(query: str) -> str:
    """The query as Grafana sends it, with all boxes and cameras selected."""
    return query.replace("$__rate_interval", "30s").replace("$instance", ".*").replace("$camera", ".*")


def alerts() -> list[Alert]:
    """The alert rules, parsed with regular expressions to avoid a dependency on a YAML parser."""
    found = []
    for block in re.split(r"^ +- alert: ", RULES.read_text(), flags=re.MULTILINE)[1:]:
        name = block.split("\n", 1)[0].strip()
        expression = re.search(r"^ +expr: (?:>-\n)?(.*?)\n +(?:for|labels):", block, re.MULTILINE | re.DOTALL)
        runbook = re.search(r"^ +runbook_url: (\S+)$", block, re.MULTILINE)
        assert expression and runbook, f"{name} lacks an expression or a runbook"
        found.append(Alert(name, " ".join(expression[1].split()), runbook[1]))
    return found


def parsed(query: str) -> Query:
    """The metrics and labels in a PromQL query. Parses no other part of the grammar."""
    tokens = [(match.lastgroup, match[0]) for match in _TOKEN.finditer(query)]
    tokens.append((None, ""))
    selectors, grouped_by, place = [], set(), 0
    while tokens[place][0] is not None:
        kind, token = tokens[place]
        following = tokens[place + 1][1]
        place += 1
        if kind == "name" and token in _GROUPING and following == "(":
            end = _closing(tokens, place, ")")
            grouped_by |= {name for kind, name in tokens[place:end] if kind == "name"}
            place = end + 1
        elif kind == "name" and token not in _WORDS and following == "{":
            end = _closing(tokens, place, "}")
            selectors.append(Selector(token, _matchers(tokens[place + 1 : end])))
            place = end + 1
        elif kind == "name" and token not in _WORDS and following not in ("(", "by", "without"):
            selectors.append(Selector(token, ()))
    return Query(tuple(selectors), frozenset(grouped_by))


def _closing(tokens: list[tuple[str | None, str]], place: int, sign: str) -> int:
    return next(at for at in range(place, len(tokens)) if tokens[at] == ("sign", sign))


def _matchers(tokens: list[tuple[str | None, str]]) -> tuple[Matcher, ...]:
    plain = [text for _, text in tokens if text != ","]
    triples = zip(plain[::3], plain[1::3], plain[2::3], strict=True)
    return tuple(Matcher(label, sign, value[1:-1]) for label, sign, value in triples)
