"""Checks that a response is valid HTTP."""

import re

from starlette.responses import Response

STATUSES_WITHOUT_BODY = (204, 304)

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OUR_OWN = ("content-length", "transfer-encoding")


def checked_status(status: object) -> int:
    """The status of a final response.

    Raises:
        ValueError: it is not a whole number from 200 to 599.
    """
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"an answer's status is a whole number from 200 to 599, not {status!r:.100}")
    return int(status)


def checked_header(name: object, value: object) -> tuple[str, str]:
    """Name and value of a header.

    Raises:
        ValueError: one of them is invalid, or Facend sets this header.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"a header's name is letters, digits and -, not {name!r:.100}")
    if name.lower() in _OUR_OWN:
        raise ValueError(f"the header {name} is set by Facend itself")
    if not isinstance(value, str) or not _VALUE.fullmatch(value.strip()):
        raise ValueError(f"the value of the header {name} is one line of Latin-1 text, not {value!r:.100}")
    return name, value.strip()


def checked(response: Response, *, head: bool) -> Response:
    """A response made by foreign code; `head`: to a HEAD request.

    Raises:
        ValueError: it cannot be sent.
    """
    checked_status(response.status_code)
    for name, value in response.headers.items():
        if name not in _OUR_OWN:
            checked_header(name, value)
    body = getattr(response, "body", None)
    if body is not None:  # not a stream
        _check_length(response, len(body), head=head)
    return response


def _check_length(response: Response, length: int, *, head: bool) -> None:
    if response.status_code in STATUSES_WITHOUT_BODY and length:
        raise ValueError(f"an answer with the status {response.status_code} must have no body")
    announced = response.headers.get("content-length", str(length))
    if announced != str(length) and not head:
        raise ValueError(f"the header content-length says {announced!r:.100} of a body of {length} bytes")
