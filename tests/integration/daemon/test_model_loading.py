"""Having the models ready before anything starts."""

import pytest
import structlog

from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.model_loading import load_models, models_folder
from tests.faces import default_models, models_dir


def settings(**models):
    return Settings.model_validate({"models": models})


def test_models_lie_in_the_data_folder_unless_told(tmp_path):
    """A folder of its own can be shared by several."""
    assert models_folder(Settings(data_dir=tmp_path)) == tmp_path / "models"
    assert models_folder(settings(folder=str(tmp_path / "shared"))) == tmp_path / "shared"


def test_files_are_taken_from_a_named_folder_first(tmp_path):
    """A box without a network gets them on a stick: they are copied, checked and loaded."""
    pack = default_models().pack
    stick = models_dir() / pack.name
    with structlog.testing.capture_logs() as logs:
        models = load_models(settings(folder=str(tmp_path), sources=[str(stick)]))
    assert models.pack.name == pack.name
    assert {path.name for path in (tmp_path / pack.name).iterdir()} == {file.name for file in pack.files}
    assert [entry["event"] for entry in logs].count("fetching models") == 1


def test_what_is_there_is_not_fetched():
    """With all files in place nothing is said of fetching."""
    default_models()
    with structlog.testing.capture_logs() as logs:
        load_models(settings(folder=str(models_dir())))
    assert "fetching models" not in [entry["event"] for entry in logs]


def test_a_pack_that_does_not_exist_lets_nothing_start(tmp_path):
    """The error names it."""
    with pytest.raises(StartError, match=r"models: .*no-such-pack"):
        load_models(settings(pack="no-such-pack", folder=str(tmp_path)))
