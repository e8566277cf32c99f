"""The default models, loaded once."""

from tests.unit.pipeline.conftest import models

__all__ = ["models"]
