"""The facenapi context: users, faces, galleries, cameras, persons, and where their data lies."""

from pipeline.types import Emotions, ExtractionFace, Rectangle
from store.cameras import Camera, Cameras
from store.context import Context
from store.counters import Counter, Counters
from store.errors import (
    AuthenticationError,
    BadFilterError,
    BadValueError,
    ConflictError,
    CounterMissingError,
    FacenExistsError,
    FacenStorageError,
    GalleryError,
    ImageError,
    ImagesBusyError,
    NotFoundError,
    PackError,
    QueryTimeoutError,
    StoreError,
    StoreUnavailableError,
    UploadError,
)
from store.face import Face
from store.faces import CoreFaces, Faces
from store.galleries import Galleries, Gallery
from store.identification import IdentifyResult, IdentifyResults
from store.image import Image
from store.model_store import Model, MongoStore
from store.observer import StoreObserver
from store.persons import Person, PersonMatch, Persons
from store.server_faces import ServerFaces
from store.settings import FacensSettings, PersonsSettings, StoreSettings
from store.users import User, Users, UserStore

__all__ = [
    "AuthenticationError",
    "BadFilterError",
    "BadValueError",
    "Camera",
    "Cameras",
    "ConflictError",
    "Context",
    "CoreFaces",
    "Counter",
    "CounterMissingError",
    "Counters",
    "Emotions",
    "ExtractionFace",
    "Face",
    "FacenExistsError",
    "FacenStorageError",
    "FacensSettings",
    "Faces",
    "Galleries",
    "Gallery",
    "GalleryError",
    "IdentifyResult",
    "IdentifyResults",
    "Image",
    "ImageError",
    "ImagesBusyError",
    "Model",
    "MongoStore",
    "NotFoundError",
    "PackError",
    "Person",
    "PersonMatch",
    "Persons",
    "PersonsSettings",
    "QueryTimeoutError",
    "Rectangle",
    "ServerFaces",
    "StoreError",
    "StoreObserver",
    "StoreSettings",
    "StoreUnavailableError",
    "UploadError",
    "User",
    "UserStore",
    "Users",
]
