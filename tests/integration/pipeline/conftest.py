"""The default models, loaded once."""

import pytest

from pipeline.models.loader import Models
from tests.faces import default_models


@pytest.fixture(scope="session")
def models() -> Models:
    return default_models()
