"""The command line: what it prints, and the status it ends with."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from daemon.cli import main as cli
from daemon.cli.groups import CommandGroup
from tests.daemon_process import FACEND, write_settings
from tests.faces import default_models

ROOT = Path(cli.__file__).parents[2]
CAMERA = {"id": "hall", "url": "rtsp://viewer:s3cret@10.0.0.7/main"}


def test_check_shows_what_is_in_effect_with_secrets_masked(facend, tmp_path):
    """A key and its value a line, defaults too; the verdict goes to standard error."""
    path = write_settings(tmp_path, [CAMERA], http={"port": 1234})
    status, out, err = facend("check", "--settings", path)
    assert status == 0
    assert "http.port = 1234\n" in out
    assert 'http.host = "127.0.0.1"\n' in out
    assert 'cameras[1].url = "rtsp://10.0.0.7/main"\n' in out
    assert 'cameras[1].password = "***"\n' in out
    assert "s3cret" not in out + err
    assert err == f"{path}: valid\n"


def test_check_prints_json(facend, tmp_path):
    """The same for programs."""
    status, out, _ = facend("check", "--json", "--settings", write_settings(tmp_path, [CAMERA]))
    assert status == 0
    assert json.loads(out)["cameras"][0]["password"] == "***"  # noqa: S105 - a masked one


@pytest.mark.parametrize("command", ["check", "run", "cameras"])
def test_wrong_settings_are_a_line_each_and_status_2(facend, tmp_path, command):
    """Whatever the command, before it does anything."""
    path = write_settings(tmp_path, [CAMERA, CAMERA], http={"port": -1})
    status, out, err = facend(command, "--settings", path)
    assert (status, out) == (2, "")
    assert [line.split(" = ")[0] for line in err.splitlines()] == [
        f"facend: {path}: http.port",
        f"facend: {path}: cameras",
    ]


def test_a_wrong_option_is_status_2(facend):
    """As everywhere."""
    status, _, err = facend("run", "--setings", "x")
    assert status == 2
    assert "--setings" in err


def test_cameras_are_listed_though_no_daemon_runs(facend, tmp_path):
    """What is in the settings is known; the state is not, and that is said."""
    status, out, err = facend("cameras", "--settings", write_settings(tmp_path, [CAMERA]))
    assert status == 0
    assert out.split()[:2] == ["hall", "unknown"]
    assert "rtsp://***@10.0.0.7/main" in out
    assert "does not answer" in err
    assert "s3cret" not in out + err


def test_models_tell_licence_and_thresholds(facend, tmp_path):
    """Every pack with its licence; a warning where it is for research only."""
    path = write_settings(tmp_path, [])
    status, out, _ = facend("models", "--settings", path)
    assert status == 0
    blocks = {block.split()[0]: block for block in out.split("\n\n") if block.strip()}
    assert {"opencv-zoo", "buffalo_s", "buffalo_l", "antelopev2"} <= set(blocks)
    assert "in use, on disk" in blocks["opencv-zoo"]
    assert "WARNING" not in blocks["opencv-zoo"]
    assert "research only" in blocks["buffalo_l"]
    status, out, _ = facend("models", "--json", "--settings", path)
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["opencv-zoo"]["facen_size"] == default_models().pack.facen_size
    assert rows["opencv-zoo"]["thresholds"]["low"] < rows["opencv-zoo"]["thresholds"]["strict"]


def test_an_unknown_pack_is_one_line_and_status_1(facend, tmp_path):
    """The line names it."""
    path = write_settings(tmp_path, [], models={"pack": "no-such-pack"})
    status, _, err = facend("models", "--settings", path)
    assert status == 1
    assert "no-such-pack" in err
    assert len(err.splitlines()) == 1


def test_every_command_explains_itself(facend):
    """`facend --help` lists the commands, each with a line that says what it is for."""
    status, out, _ = facend("--help")
    assert status == 0
    ctx = click.Context(cli.facend)
    for name in cli.facend.list_commands(ctx):
        assert f"\n  {name} " in out
        command = cli.facend.get_command(ctx, name)
        assert command.name == name
        assert command.help, f"{name} has no help"
    assert {"run", "check", "demo", "probe", "cameras", "models", "export"} <= set(cli.facend.commands)


def test_no_command_is_left_out_of_the_list():
    """Whatever a module of commands offers is in a table that finds it, facend's or that of a group."""
    offered = set()
    for path in Path(cli.__file__).parent.glob("*.py"):
        module = f"daemon.cli.{path.stem}"
        for command in getattr(importlib.import_module(module), "COMMANDS", ()):
            offered.add((command.name, module))
    groups = [cli.facend.get_command(click.Context(cli.facend), name) for name in cli.facend.lazy_commands]
    tables = [
        cli.facend.lazy_commands,
        *(group.lazy_commands for group in groups if isinstance(group, CommandGroup)),
    ]
    assert offered == {(name, lazy.module) for commands in tables for name, lazy in commands.items()}


@pytest.mark.parametrize(
    ("arguments", "not_loaded"),
    [
        ("--help", {"numpy", "pydantic", "structlog", "store", "asyncio"}),
        ("check --settings {}", {"scipy", "onnxruntime", "insightface", "av", "starlette", "uvicorn"}),
    ],
)
def test_a_command_loads_what_it_needs_and_no_more(tmp_path, arguments, not_loaded):
    """The list of commands and the check of the settings need no slow imports."""
    settings = str(write_settings(tmp_path, [CAMERA]))
    command = [word.format(settings) for word in arguments.split()]
    program = f"""
import sys
from daemon.cli import main as cli
sys.argv = {["facend", *command]!r}
try:
    cli.main()
finally:
    print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=50
    )
    assert set(done.stdout.splitlines()[-1].split()) & not_loaded == set()


def completions(*words):
    """What click's completion for bash offers for the last word, and the modules that it imported."""
    environment = {
        **os.environ,
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_FACEND_COMPLETE": "bash_complete",
    }
    program = """
import sys
from daemon.cli import main as cli
sys.argv = ["facend"]
try:
    cli.main()
finally:
    print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
        env=environment,
    )
    *offered, modules = done.stdout.splitlines()
    return [line.partition(",")[2] for line in offered], set(modules.split())


def test_completion_offers_commands_without_importing_them():
    """The shell waits for it at each press of the tab key."""
    offered, modules = completions("facend", "")
    assert {"run", "cameras", "persons"} <= set(offered)
    assert modules & {"numpy", "pydantic", "structlog", "store", "asyncio"} == set()
    assert completions("facend", "ca")[0] == ["calibrate", "cameras"]
    assert completions("facend", "persons", "er")[0] == ["erase"]
    assert "--yes" in completions("facend", "persons", "erase", "--")[0]


def every_command(command, path=("facend",)):
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from every_command(command.get_command(context, name), (*path, name))


def test_no_help_is_cut_off_and_every_option_is_explained():
    """At 80 columns every line of every help is whole, and no option lacks its sentence."""
    for path, command in every_command(cli.facend):
        context = click.Context(command, info_name=" ".join(path), terminal_width=80)
        lines = command.get_help(context).splitlines()
        assert not [
            line
            for line in lines
            if len(line) > 80 or (line.endswith("...") and not line.startswith("Usage: "))
        ], path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path}: {parameter.opts} has no help"


def test_the_summary_of_a_lazy_command_is_the_first_sentence_of_its_help():
    """The list of commands, which imports none, says the same as the command."""
    for path, command in every_command(cli.facend):
        for name, lazy in getattr(command, "lazy_commands", {}).items():
            subcommand = command.get_command(click.Context(command), name)
            assert subcommand.get_short_help_str(200) == lazy.summary, (path, name)


def test_the_man_page_has_every_command_and_option(tmp_path):
    """It is made from the help of all commands."""
    page = tmp_path / "facend.1"
    subprocess.run([sys.executable, ROOT / ".ci" / "man", page], check=True, timeout=50)
    text = page.read_text().replace("\\-", "-")
    for path, command in every_command(cli.facend):
        assert path == ("facend",) or f'.SS "{" ".join(path)}"' in text
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden and path != ("facend",):
                assert parameter.opts[-1] in text


@pytest.mark.parametrize("redirection", [">/dev/full", "2>&- <&-", ">&- 2>&- <&-"])
def test_no_room_for_what_is_printed_is_no_fault_of_facend(tmp_path, redirection):
    """One line and status 1 on a full disk; a closed pipe is ignored."""
    path = write_settings(tmp_path, [CAMERA])
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", FACEND, "check", "--settings", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    if "full" in redirection:
        assert done.returncode == 1
        assert done.stderr == "facend: cannot write the output (No space left on device)\n"
    else:
        assert (done.returncode, done.stderr) == (0, "")


def test_the_file_in_the_current_folder_is_the_settings(facend, tmp_path, monkeypatch):
    """Without --settings, ./settings.toml."""
    monkeypatch.delenv("FACEND_SETTINGS", raising=False)
    write_settings(tmp_path, [], http={"port": 4321})
    monkeypatch.chdir(tmp_path)
    status, out, err = facend("check")
    assert status == 0
    assert "http.port = 4321" in out
    assert err == f"{Path('settings.toml')}: valid\n"
