"""The section [plugins] of the settings."""

from pathlib import Path

import pytest

from daemon.config import settings_file
from daemon.config.masking import masked
from daemon.errors import SettingsError


def load(folder: Path, text: str, **environment: str):
    path = folder / "settings.toml"
    path.write_text(text)
    return settings_file.load(path, environment)


def test_without_the_section_there_are_no_plugins(tmp_path):
    """No folder is looked into unless one is named."""
    plugins = load(tmp_path, "").plugins
    assert (plugins.dirs, plugins.enabled, plugins.options) == ((), (), {})


def test_all_is_another_word_for_every_plugin(tmp_path):
    """`enabled = "all"` and an empty list mean the same; folders count from the file."""
    plugins = load(tmp_path, '[plugins]\ndirs = ["here"]\nenabled = "all"').plugins
    assert plugins.enabled == load(tmp_path, "[plugins]\nenabled = []").plugins.enabled == ()
    assert plugins.dirs == (tmp_path / "here",)


def test_options_may_hold_secrets_which_are_not_shown(tmp_path):
    """A secret is filled in for the plugin, and masked in what `facend check` prints."""
    text = """
[plugins.options.hook]
url = "https://user:hush@example.org/x"
token = "${env:HOOK}"
places = [{password = "hush"}, "http://a:hush@b/"]
limit = 3
"""
    settings = load(tmp_path, text, HOOK="hush")
    assert settings.plugins.options["hook"]["token"] == "hush"  # noqa: S105 - the value that has to be hidden
    shown = masked(settings)["plugins"]["options"]["hook"]
    assert shown["token"] == "***"  # noqa: S105 - what is shown instead
    assert shown["limit"] == 3
    assert "hush" not in str(shown)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[plugins]\ndir = []", "plugins.dir: unknown key; did you mean dirs"),
        ("[plugins]\nenabled = 5", "plugins.enabled = 5: "),
        ("[plugins]\ntimeout_seconds = 0", "plugins.timeout_seconds = 0: "),
        ("[plugins]\nmax_body_bytes = 5", "plugins.max_body_bytes = 5: "),
        ("[plugins.options]\nhook = 5", "plugins.options.hook = 5: "),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, message):
    """File, key and value are named."""
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, text)
    (problem,) = raised.value.problems
    assert message in problem
