"""Translates errors of the MongoDB driver into StoreError."""

from bson.errors import BSONError, InvalidDocument
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from store.errors import (
    BadFilterError,
    BadValueError,
    ConflictError,
    QueryTimeoutError,
    StoreError,
    StoreUnavailableError,
)
from store.mongo.connection_errors import LOGIN_CODES, server_message

# Error codes that describe the state of the server, not a fault of the request:
# mongodb.com/docs/manual/reference/error-codes
STATE_CODES = frozenset(
    {
        *LOGIN_CODES,
        64,  # WriteConcernFailed
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        112,  # WriteConflict
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        262,  # ExceededTimeLimit
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    }
)

DRIVER_ERRORS = (PyMongoError, BSONError, OverflowError, UnicodeEncodeError)
"""Exceptions of the driver, including those while it encodes arguments."""


def translate_error(error: Exception, operation: str) -> StoreError:
    """The StoreError for one of DRIVER_ERRORS. `operation`: for the message, such as `faces.find`."""
    if isinstance(error, DuplicateKeyError):
        fields = tuple((error.details or {}).get("keyPattern", {}))
        return ConflictError(
            f"{operation}: a document with the same {' and '.join(fields) or 'unique fields'} exists already",
            fields,
        )
    if isinstance(error, ExecutionTimeout):
        return QueryTimeoutError(
            f"{operation}: the query exceeded its time limit and MongoDB ended it; "
            "narrow the filters, or use fields that have an index"
        )
    if isinstance(error, (ConnectionFailure, AutoReconnect, WTimeoutError)):
        return StoreUnavailableError(
            f"{operation}: MongoDB does not answer ({type(error).__name__}); try again later"
        )
    if isinstance(error, (OverflowError, UnicodeEncodeError, InvalidDocument, DocumentTooLarge, BSONError)):
        return BadValueError(f"{operation}: MongoDB cannot store this value: {error}")
    if isinstance(error, OperationFailure) and error.code not in STATE_CODES:
        return BadFilterError(
            f"{operation}: MongoDB refuses this: {error.details and error.details.get('errmsg')}"
        )
    if isinstance(error, InvalidOperation):
        return BadFilterError(f"{operation}: {error}")
    if isinstance(error, OperationFailure) and error.code in LOGIN_CODES:
        return StoreUnavailableError(
            f"{operation}: MongoDB refuses the login, or the user lacks rights; "
            "see store.user and store.password"
        )
    if isinstance(error, OperationFailure):
        return StoreUnavailableError(
            f"{operation}: MongoDB cannot do this at present: {server_message(error)}"
        )
    return StoreUnavailableError(
        f"{operation}: MongoDB cannot do this at present ({type(error).__name__}: {error})"
    )
