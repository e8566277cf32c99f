"""Exceptions that plugins raise, and those about plugins."""

from daemon.plugins.answers import checked_header, checked_status


class Refuse(Exception):  # noqa: N818 - an answer, not an error: `raise Refuse("too dark")`
    """Raised or returned by a hook to refuse a sighting; the reason is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HttpError(Exception):
    """An error response of a handler, with the body `{"error": {"code": …, "message": …}}`."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        """`code` is for programs, one word such as `no_face`; `message` is for people.

        Raises:
            ValueError: the status or a header is invalid.
        """
        super().__init__(message)
        self.status = checked_status(status)
        self.code = code
        self.message = message
        self.headers = dict(checked_header(name, value) for name, value in (headers or {}).items())


class PluginFault(Exception):  # noqa: N818 - it is the plugin's, and no error of ours
    """A plugin or one of its functions is faulty. The message is one line."""


class OverdueFault(PluginFault):
    """A plugin's function did not end in time."""


class HeldUpError(BaseException):
    """Raised inside a plugin that blocks the event loop, to unblock the loop.

    Not an `Exception`, so that a plugin's own `except Exception` does not catch it.
    """


def described(error: BaseException) -> str:
    """The error in one line: its class and the first line of its message."""
    text = str(error).strip().splitlines()
    if isinstance(error, PluginFault | HeldUpError):
        return text[0] if text else type(error).__name__
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__
