"""What can go wrong in the store. Every error says what was tried, with what, and what to do."""


class StoreError(Exception):
    """The base of every error of this room."""


class AuthenticationError(StoreError):
    """The user is missing, unknown or inactive."""


class BadValueError(StoreError, ValueError):
    """An argument that can never be right: an id out of range, a facen that is none, a limit of 0."""


class BadFilterError(BadValueError):
    """Filters, an update, a sort or a limit that MongoDB or the owner's guard refuses."""


class GalleryError(BadValueError):
    """A gallery's name is missing, malformed, taken or reserved."""


class CounterMissingError(StoreError, TypeError):
    """The counter has no current value."""


class NotFoundError(StoreError, LookupError):
    """What was named does not exist, or belongs to somebody else."""


class ConflictError(StoreError):
    """A document with the same unique fields is there already."""

    def __init__(self, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.fields = fields
        """The fields that have to be unique, such as `("_id",)` or `("owner", "sighting_id")`."""


class StoreUnavailableError(StoreError):
    """MongoDB cannot be reached, started or written to at present. Trying again later may help."""


class LeaseLostError(StoreError):
    """Another process holds a lease now, or it expired; work that needs it was cancelled."""


class QueryTimeoutError(StoreError):
    """A query took longer than it may; MongoDB ended it. MongoDB is fine: the filters have to be narrower."""


class FacenStorageError(StoreError):
    """A shard of the facen storage could not do its part."""

    def __init__(self, message: str, shard: str) -> None:
        super().__init__(message)
        self.shard = shard


class FacenExistsError(FacenStorageError):
    """The face is in that gallery of the facen storage already."""


class PackError(StoreError):
    """The stored facens are of another model pack than the one in use; they cannot be compared."""


class NewerSchemaError(StoreError):
    """A later version of Facend has written what is stored."""


class ImageError(BadValueError):
    """Bytes or an array that are no picture, or a box with nothing of the picture inside."""


class ImagesBusyError(StoreError):
    """Too many large pictures are being decoded at present. Trying again later may help."""


class UploadError(StoreError):
    """The uploads folder or server cannot be read or written at present."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        """When the server wants to be asked again at the earliest; None where it does not say."""


class PictureRefusedError(UploadError):
    """The uploads folder or server refuses this one picture for good, and may accept others."""


class SpoolError(StoreError):
    """The spool's folder cannot be read or written at present, or is full. Trying again later may help."""


class RefusedSightingError(StoreError):
    """Somebody who may refuse sightings has refused this one; it is not stored."""


class StoreStateError(StoreError):
    """A stored document is malformed, and what depends on it waits until it is mended."""


class MalformedSightingError(StoreError, ValueError):
    """A sighting that can never be stored; the message says what is wrong with it."""
