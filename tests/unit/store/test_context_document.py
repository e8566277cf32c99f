"""Checks docs/context.md, the page on the context's promises."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs" / "context.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "test"), NAMED, ids=[f"{path}::{test}" for path, test in NAMED])
def test_every_test_that_the_page_names_exists(path: str, test: str) -> None:
    """Each row names an existing test."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    assert test in {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_promise_names_a_test() -> None:
    """Each row of the tables of promises ends with a test."""
    tables = re.findall(r"shown by \|\n\| --- \| --- \| --- \|\n((?:\|.*\|\n)+)", PAGE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 100
    assert [row for row in rows if not re.search(r"\| `[\w/]+\.py::\w+` \|$", row)] == []
