"""What may not be interrupted."""

import signal
from collections.abc import Iterator

import pytest

from daemon.runtime.signals import Terminated, terminated, uninterrupted


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Those of a command in the foreground; a shell starts background processes with SIGINT ignored."""
    terminate = signal.signal(signal.SIGTERM, terminated)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, interrupt)


@pytest.mark.parametrize(
    ("number", "interruption"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_waits(number: signal.Signals, interruption: type[BaseException]) -> None:
    steps = []
    with pytest.raises(interruption):
        with uninterrupted():
            signal.raise_signal(number)
            steps.append("went on")
        steps.append("was not interrupted")
    assert steps == ["went on"]


def test_a_fault_ends_it() -> None:
    """Whatever the import raises, signals come through again."""
    with pytest.raises(ImportError), uninterrupted():
        raise ImportError
    with pytest.raises(Terminated):
        signal.raise_signal(signal.SIGTERM)
