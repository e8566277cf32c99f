"""Exceptions that plugins raise, and those about plugins."""


class Refuse(Exception):  # noqa: N818 - an answer, not an error: `raise Refuse("too dark")`
    """Raised or returned by a hook to refuse a sighting; the reason is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PluginFault(Exception):  # noqa: N818 - the fault is the plugin's, not an error of the daemon
    """A plugin or one of its functions is faulty. The message is one line."""


class OverdueFault(PluginFault):
    """A plugin's function did not end in time."""


class HeldUpError(BaseException):
    """Raised inside a plugin that blocks the event loop, to unblock the loop.

    Not an `Exception`, so that a plugin's own `except Exception` does not catch it.
    """


def describe(error: BaseException) -> str:
    """The error in one line: its class and the first line of its message."""
    text = str(error).strip().splitlines()
    if isinstance(error, PluginFault | HeldUpError):
        return text[0] if text else type(error).__name__
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__
