"""The pauses between attempts."""

from daemon.events.sinks.dispatch import JITTER, RETRY_SECONDS, pause_seconds


def test_pauses_grow_with_jitter_and_never_undercut_what_the_receiver_asks() -> None:
    """5 s, 30 s, 2 min, 10 min, then an hour each time."""
    for attempts in range(10):
        usual = RETRY_SECONDS[min(attempts, 4)]
        drawn = [pause_seconds(attempts) for _ in range(50)]
        assert all((1 - JITTER) * usual <= pause <= (1 + JITTER) * usual for pause in drawn)
        assert len(set(drawn)) > 1
        assert pause_seconds(attempts, 86_400) == 86_400
        assert pause_seconds(attempts, 0) >= (1 - JITTER) * usual
