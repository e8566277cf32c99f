import subprocess
import sys
import time

import pytest

HANGING = """
import threading
import click
from daemon.cli import main as cli
from daemon.errors import SettingsError
@cli.facend.command("hang")
def hang():
    threading.Thread(target=lambda: threading.Event().wait(60)).start()
    {body}
cli.main()
"""


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("pass", 0, ""),
        ("raise SettingsError(['no'])", 2, "facend: no"),
        ("raise RuntimeError('a bug')", 1, "RuntimeError: a bug"),
    ],
)
def test_a_thread_that_hangs_does_not_keep_the_process(body, status, said):
    """The process ends soon, with the status of what it was for, and says why."""
    began = time.monotonic()
    command = [sys.executable, "-c", HANGING.format(body=body), "hang"]
    done = subprocess.run(command, timeout=50, check=False, capture_output=True, text=True)
    assert (done.returncode, said in done.stderr) == (status, True)
    assert time.monotonic() - began < 40
