"""The credentials in a request's header `Authorization`."""

from starlette.requests import Request


def credentials(request: Request, scheme: str) -> tuple[str, ...]:
    """The possible credentials of this scheme, such as `Bearer`; empty without any.

    HTTP does not define the encoding of a header: non-ASCII credentials are returned both as UTF-8 and as
    Latin-1.
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
