"""Why a connection to MongoDB failed, as one sentence with the remedy."""

import re

from pymongo.errors import OperationFailure, PyMongoError

from store.errors import StoreUnavailableError
from store.settings import StoreSettings

UNAUTHORIZED, AUTHENTICATION_FAILED, USER_NOT_FOUND, ATLAS = 13, 18, 11, 8000
WRONG_LOGIN = frozenset({AUTHENTICATION_FAILED, USER_NOT_FOUND, ATLAS})
LOGIN_CODES = frozenset({UNAUTHORIZED, AUTHENTICATION_FAILED})

_REASONS = {
    r"(?i)certificate.verify.failed": (
        "its certificate is not trusted; set tlsCAFile in store.url to a PEM file with the issuing authority"
    ),
    r"Hostname mismatch|IP address mismatch|doesn't match": "its certificate is for another host name",
    r"SSL|TLS|tlsv1": "the TLS handshake failed; check tls= and the certificates in store.url",
    r"not known|nodename nor servname|getaddrinfo|Temporary failure in name|No address|DNS|resolution": (
        "its host name cannot be resolved"
    ),
    r"Connection refused": "the connection is refused; check the port and that the server runs",
    r"No route|unreachable": "its network cannot be reached",
    r"configured to connect to a replica set|not a member|replica set name": (
        "it is not a member of the replica set in store.url (replicaSet=)"
    ),
    r"No replica set members match|No primary": "its replica set has no primary at present",
    r"connection closed|reset by peer": (
        "it closes the connection; a server with TLS needs tls=true in store.url"
    ),
}
"""Patterns in the driver's messages, which have no codes, and their meaning."""


def connection_error(error: PyMongoError, where: str, settings: StoreSettings) -> StoreUnavailableError:
    """The error for a failed first connection. `where`: the URL without secrets."""
    if (refusal := refused_login(error, settings.shown_user)) is not None:
        return StoreUnavailableError(f"MongoDB at {where} {refusal}")
    if isinstance(error, OperationFailure):
        return StoreUnavailableError(f"MongoDB at {where} refuses the connection: {server_message(error)}")
    text = str(error)
    reason = next((reason for pattern, reason in _REASONS.items() if re.search(pattern, text)), None)
    return StoreUnavailableError(
        f"MongoDB at {where} did not answer within {settings.connect_timeout_seconds:g} s: "
        + (reason or f"{type(error).__name__}; check store.url and that the server runs")
    )


def refused_login(error: Exception, user: str | None) -> str | None:
    """Why the server refuses the login or the user's rights; None for other errors. `user`: if known."""
    if not isinstance(error, OperationFailure):
        return None
    if error.code in WRONG_LOGIN:
        return (
            f"refuses the login{f' of {user}' if user else ''}: user, password or authSource (the database "
            "that holds the user) is wrong; see store.user and store.password"
        )
    if error.code == UNAUTHORIZED and user is None:
        return "requires a login; set store.user and store.password"
    if error.code == UNAUTHORIZED:
        return f"does not let {user} use the database; grant the role readWrite on store.database"
    return None


def server_message(error: OperationFailure) -> str:
    """The server's error message, without the rest of its answer."""
    text = (error.details or {}).get("errmsg") or error.args[0]
    return f"{text!s:.200} ({error.code})"
