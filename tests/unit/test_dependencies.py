"""What the project says of the packages that it runs on."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_locked_package_is_on_the_list_for_review() -> None:
    """docs/dependencies.md has each package of requirements.lock in its version; `make lock` writes both."""
    locked = re.findall(r"^([a-z0-9-]+)==([^ \\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    rows = (ROOT / "docs" / "dependencies.md").read_text().splitlines()
    listed = [tuple(row.split(" | ")[:2]) for row in rows if re.match(r"\| [a-z0-9-]+ \| [\d.]+ ", row)]
    assert [(name.removeprefix("| "), version) for name, version in listed] == locked


def test_every_package_that_is_asked_for_is_explained() -> None:
    """The README has a line for each dependency of pyproject.toml, and none for others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {re.match(r"[A-Za-z0-9-]+", one)[0].lower() for one in project["dependencies"]}
    table = (ROOT / "README.md").read_text().split("| package | for |")[1].split("\n\n")[0]
    explained = {
        name.strip().lower()
        for row in re.findall(r"^\| ([\w ,-]+) \|", table, re.MULTILINE)
        for name in row.split(",")
    } - {"---"}
    assert explained == asked
