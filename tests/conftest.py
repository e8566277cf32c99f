"""Settings for all tests."""

import structlog
from hypothesis import settings

# How long one example takes says how busy the machine is, not whether the code is right.
settings.register_profile("facend", deadline=None)
settings.load_profile("facend")

# Where rich is installed, structlog has it draw each exception with all variables, which takes a second.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=False),
    ]
)
