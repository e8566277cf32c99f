"""The keys of `facend export faces`."""

from daemon.cli.export import face_row
from store import Face


def test_an_exported_face_has_what_the_models_said() -> None:
    """Gender, age, emotions and meta are exported; where a face has none, they are null."""
    face = Face(
        _id=5, x1=1.0, y1=2.0, x2=3.0, y2=4.0, gender="female", age=31.5, emotions=["happy", "calm"], meta="x"
    )
    exported = face_row(face)
    assert [exported[key] for key in ("gender", "age", "meta")] == ["female", 31.5, "x"]
    assert list(exported["emotions"]) == ["happy", "calm"]
    assert face_row(Face(_id=5))["age"] is None
