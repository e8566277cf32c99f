"""Errors of the store. Each message says what was tried, with what, and what to do."""


class StoreError(Exception):
    """Base class of the errors of `store`."""


class AuthenticationError(StoreError):
    """The user is missing, unknown or inactive."""


class BadValueError(StoreError, ValueError):
    """An invalid argument: an id out of range, a malformed facen, a limit of 0."""


class BadFilterError(BadValueError):
    """Filters, an update, a sort or a limit that MongoDB or the guard refuses."""


class GalleryError(BadValueError):
    """A gallery's name is missing, malformed, taken or reserved."""


class CounterMissingError(StoreError, TypeError):
    """The counter has no current value."""


class NotFoundError(StoreError, LookupError):
    """The named object does not exist or belongs to another user."""


class ConflictError(StoreError):
    """A document with the same unique fields exists."""

    def __init__(self, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.fields = fields
        """The fields of the unique index, such as `("_id",)` or `("owner", "sighting_id")`."""


class StoreUnavailableError(StoreError):
    """MongoDB cannot be reached, started or written to. Trying again later may help."""


class LeaseLostError(StoreError):
    """A lease expired, or another process took it over; the work under it was cancelled."""


class QueryTimeoutError(StoreError):
    """A query exceeded its time limit although MongoDB is available; narrow its filters."""


class FacenStorageError(StoreError):
    """A shard of the facen storage failed."""

    def __init__(self, message: str, shard: str) -> None:
        super().__init__(message)
        self.shard = shard


class FacenExistsError(FacenStorageError):
    """The face is already in this gallery of the facen storage."""


class PackError(StoreError):
    """The stored facens are of another model pack than the one in use, and cannot be compared."""


class NewerSchemaError(StoreError):
    """The database was written by a later version of Facend."""


class ImageError(BadValueError):
    """Data that is not a picture, or a bbox outside the picture."""


class ImagesBusyError(StoreError):
    """Too many large pictures are being decoded. Trying again later may help."""


class UploadError(StoreError):
    """The uploads folder or server cannot be read or written."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        """The server's Retry-After; None without one."""


class PictureRefusedError(UploadError):
    """The uploads folder or server refuses this picture permanently, and may accept others."""


class SpoolError(StoreError):
    """The spool's folder cannot be read or written, or is full. Trying again later may help."""


class RefusedSightingError(StoreError):
    """A sighting gate refuses this sighting; it is not stored."""


class StoreStateError(StoreError):
    """A stored document is malformed; operations that need it fail until it is corrected."""


class MalformedSightingError(StoreError, ValueError):
    """A sighting that can never be stored; the message says why."""
