"""Settings for all tests."""

import os
import tempfile
from pathlib import Path

import structlog
from hypothesis import settings

# No deadline: the time of an example depends on the load of the machine. In CI the examples are the same in
# each run, so that a failure is due to the change; elsewhere they are random.
settings.register_profile("facend", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("facend")

# Users may choose any folder, so all tests run in one whose name has upper-case letters, spaces, an umlaut,
# and characters with a meaning in URLs and in lists.
_ROOT = Path(tempfile.gettempdir()) / f"Facend Tests, Büro #{os.getuid()} 100%41"
_ROOT.mkdir(mode=0o700, exist_ok=True)
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_ROOT))

# If rich is installed, structlog formats each exception with it, with all variables, which takes a second.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=False),
    ]
)
