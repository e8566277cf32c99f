"""The context's classes and signatures, as in the original's reference."""

import inspect
from collections import OrderedDict
from typing import Any

import pytest
from pymongo import ReturnDocument

import store
from store import (
    Cameras,
    Counters,
    Faces,
    Galleries,
    MongoStore,
    Persons,
    ServerFaces,
    Users,
    UserStore,
)

AFTER = ReturnDocument.AFTER
FIND = {"filters": ..., "sort": None, "skip": None, "limit": None}
FIND_ONE = {"filters": ..., "sort": None, "skip": None}
REMOVE = {"filters": ..., "sort": None}
UPDATE = {"filters": ..., "update": ..., "sort": None, "return_document": AFTER, "**kwargs": ...}
USER = {"user": ...}

PROMISED: list[tuple[Any, str, dict[str, Any]]] = [
    (MongoStore, "find", FIND),
    (MongoStore, "find_one", FIND_ONE),
    (MongoStore, "count", FIND),
    (MongoStore, "remove_one", REMOVE),
    (MongoStore, "update_one", UPDATE),
    (MongoStore, "wrap_in_model", {"obj": ...}),
    *(
        entry
        for kind in (UserStore, Faces, ServerFaces, Galleries, Cameras, Persons)
        for entry in (
            (kind, "find", USER | FIND),
            (kind, "find_one", USER | FIND_ONE),
            (kind, "count", USER | FIND),
            (kind, "remove_one", USER | REMOVE),
            (kind, "update_one", USER | UPDATE),
            (kind, "update_many", USER | UPDATE),
            (kind, "wrap_in_model", {"obj": ...}),
        )
    ),
    (Users, "add", {"user": ...}),
    (Users, "find", FIND),
    (Users, "update_one", UPDATE),
    (Users, "remove_one", REMOVE),
    (Faces, "add", {"user": ..., "face": ...}),
    (Faces, "regenerate_id", {"face": ...}),
    (Faces, "add_to_galleries", {"face": ..., "galleries": ...}),
    (Faces, "del_from_galleries", {"face": ..., "galleries": ...}),
    (
        Faces,
        "identify",
        {
            "user": ...,
            "gallery": ...,
            "face": ...,
            "limit": ...,
            "threshold": ...,
            "filters": None,
            "ignore_errors": False,
        },
    ),
    (ServerFaces, "upload_thumbnail", {"face": ..., "img": ..., "url": None}),
    (ServerFaces, "regenerate_id", {"face": ...}),
    (ServerFaces, "upload", {"face": ..., "img": ...}),
    (Galleries, "add", {"user": ..., "gallery": ...}),
    (Cameras, "add", {"user": ..., "camera": ...}),
    (Persons, "add", {"user": ..., "person": ...}),
    (
        Persons,
        "identify",
        {
            "user": ...,
            "face": ...,
            "gallery": ...,
            "threshold": ...,
            "create": False,
            "filters": None,
        },
    ),
    (Persons, "is_friend", {"user": ..., "person_id": ..., "cam_id": ...}),
    (Counters, "next", {"counter": ...}),
]


def described(function: Any) -> list[tuple[str, Any]]:
    """The parameters after `self` or `cls`, in order, with their defaults; `...` stands for none."""
    parameters = list(inspect.signature(function).parameters.values())
    stars = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}
    return [
        (
            stars.get(one.kind, "") + one.name,
            ... if one.default is inspect.Parameter.empty else one.default,
        )
        for one in parameters
        if one.name not in {"self", "cls"}
    ]


@pytest.mark.parametrize(
    ("kind", "method", "parameters"), PROMISED, ids=[f"{kind.__name__}.{name}" for kind, name, _ in PROMISED]
)
def test_a_method_has_the_documented_parameters(kind: Any, method: str, parameters: dict[str, Any]) -> None:
    """The same names, order and defaults, so that any call works."""
    assert described(getattr(kind, method)) == list(parameters.items())


@pytest.mark.parametrize(
    ("kind", "method"),
    [(kind, name) for kind, name, _ in PROMISED if name not in {"wrap_in_model", "regenerate_id"}],
)
def test_methods_that_query_mongodb_are_coroutines(kind: Any, method: str) -> None:
    """`await ctx.faces.add(…)`."""
    assert inspect.iscoroutinefunction(getattr(kind, method))


def test_class_methods_are_called_on_the_class() -> None:
    """`from_extraction_face` and `gen_ffupload_key` need no object, and are synchronous."""
    assert described(Faces.Model.from_extraction_face) == [("eface", ...)]
    assert described(ServerFaces.gen_ffupload_key) == [("face", ...), ("suffix", ".jpeg")]
    for owner, name in ((Faces.Model, "from_extraction_face"), (ServerFaces, "gen_ffupload_key")):
        assert isinstance(inspect.getattr_static(owner, name), classmethod)
        assert not inspect.iscoroutinefunction(getattr(owner, name))


def test_only_collections_with_owners_update_many() -> None:
    """The base class, Users and Counters have no `update_many`."""
    assert not any(hasattr(kind, "update_many") for kind in (MongoStore, Users, Counters))


def test_classes_inherit_as_documented() -> None:
    """Collections with owners are UserStores, Users and Counters MongoStores, models OrderedDicts."""
    assert issubclass(UserStore, MongoStore)
    assert issubclass(ServerFaces, Faces)
    for kind in (Faces, Galleries, Cameras, Persons):
        assert issubclass(kind, UserStore)
        assert issubclass(kind.Model, OrderedDict)
    for kind in (Users, Counters):
        assert issubclass(kind, MongoStore)
        assert not issubclass(kind, UserStore)
        assert issubclass(kind.Model, OrderedDict)


def test_the_package_exports_every_class() -> None:
    """Including the errors that they raise."""
    wanted = {
        *("MongoStore", "UserStore", "Users", "Faces", "ServerFaces", "Galleries", "Cameras", "Persons"),
        *("Counters", "Model", "ExtractionFace", "Rectangle", "IdentifyResult", "IdentifyResults", "Context"),
        *("Image", "Emotions", "Face", "Gallery", "Camera", "Person", "User", "Counter"),
        *("StoreError", "AuthenticationError", "BadValueError", "BadFilterError", "GalleryError"),
        *("ConflictError", "NotFoundError", "FacenExistsError", "FacenStorageError", "CounterMissingError"),
        *("ImageError", "UploadError", "StoreUnavailableError"),
    }
    assert wanted <= set(store.__all__)
    assert all(hasattr(store, name) for name in store.__all__)


def test_small_types_have_the_documented_fields() -> None:
    """The rectangle, the extraction face, and one result of a search."""
    assert store.Rectangle._fields == ("left", "top", "right", "bottom")
    assert store.IdentifyResult._fields == ("face", "confidence")
    assert store.ExtractionFace.__required_keys__ == {"bbox", "normalized", "score", "photo_hash"}
    assert store.ExtractionFace.__optional_keys__ == {"facen", "gender", "age", "emotions"}
    assert isinstance(store.Emotions(1, 0, 0, 0, 0, 0, 0), tuple)
    assert issubclass(store.IdentifyResults, list)


def test_documented_kinds_of_errors() -> None:
    """A gallery's name is a ValueError; a counter a TypeError if missing, else a ValueError."""
    assert issubclass(store.GalleryError, ValueError)
    assert issubclass(store.CounterMissingError, TypeError)
    assert issubclass(store.BadValueError, ValueError)
    ours = [getattr(store, name) for name in store.__all__ if name.endswith("Error")]
    assert all(issubclass(error, store.StoreError) for error in ours)
