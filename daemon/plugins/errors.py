"""What plugins raise, and what can go wrong with them."""

from daemon.plugins.answers import checked_header, checked_status


class Refuse(Exception):  # noqa: N818 - an answer, not an error: `raise Refuse("too dark")`
    """A hook's answer that a sighting shall not be stored, raised or returned; the reason is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HttpError(Exception):
    """A handler's own error: the answer has this status and `{"error": {"code": …, "message": …}}`."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        """`code` is for programs, one word such as `no_face`; `message` is for people.

        ValueError where status or headers are none.
        """
        super().__init__(message)
        self.status = checked_status(status)
        self.code = code
        self.message = message
        self.headers = dict(checked_header(name, value) for name, value in (headers or {}).items())


class PluginFault(Exception):  # noqa: N818 - it is the plugin's, and no error of ours
    """A plugin cannot be used, or one of its functions did not do its part. The message is one line."""


class OverdueFault(PluginFault):
    """A plugin's function did not end in time."""


class HeldUpError(BaseException):
    """Raised inside a plugin that holds up the event loop, to get the loop back.

    No `Exception`, so that a plugin's own `except Exception` does not keep it.
    """


def described(error: BaseException) -> str:
    """The error in one line: its class, and the first line of what it says."""
    text = str(error).strip().splitlines()
    if isinstance(error, PluginFault | HeldUpError):
        return text[0] if text else type(error).__name__
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__
