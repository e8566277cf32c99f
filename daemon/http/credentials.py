"""The credentials in a request's header `Authorization`."""

from starlette.requests import Request


def credentials(request: Request, scheme: str) -> tuple[str, ...]:
    """The credentials of this scheme, such as `Bearer`, as text; empty without any.

    HTTP does not say how a header is encoded: credentials beyond ASCII come once as UTF-8 and once as
    Latin-1, and only one of these is meant.
    """
    given = next((value for name, value in request.headers.raw if name == b"authorization"), b"")
    named, _, value = given.partition(b" ")
    value = value.strip(b" \t")
    if named.lower() != scheme.lower().encode() or not value:
        return ()
    try:
        return tuple(dict.fromkeys((value.decode(), value.decode("latin-1"))))
    except UnicodeDecodeError:
        return (value.decode("latin-1"),)
