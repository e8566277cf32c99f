"""The facenapi context: users, faces, galleries, cameras and persons, and the storages behind them."""

from pipeline.types import Emotions, ExtractionFace, Rectangle
from store.collections.cameras import Camera, Cameras
from store.collections.faces import CoreFaces, Faces
from store.collections.galleries import Galleries, Gallery
from store.collections.person_resolution import PersonMatch
from store.collections.persons import Person, Persons
from store.collections.server_faces import ServerFaces
from store.collections.users import User, Users, UserStore
from store.context import Context
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
    StoreStateError,
    StoreUnavailableError,
    UploadError,
)
from store.face import Face
from store.mongo.counters import Counter, Counters
from store.mongo.documents import Model
from store.mongo.model_store import MongoStore
from store.observer import StoreObserver
from store.recognition.nearest import IdentifyResult, IdentifyResults
from store.settings import FacensSettings, PersonsSettings, StoreSettings
from store.uploads.image import Image

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
    "StoreStateError",
    "StoreUnavailableError",
    "UploadError",
    "User",
    "UserStore",
    "Users",
]
