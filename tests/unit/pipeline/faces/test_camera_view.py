"""Whether a camera's view is suitable for recognition."""

import pytest

from pipeline.faces.camera_view import judge_view
from pipeline.types import ExtractionFace, Quality, Rectangle


def seen(width: float, score: float = -0.5, **parts: float) -> tuple[ExtractionFace, Quality]:
    box = Rectangle(0, 0, width, width * 1.2)
    return ExtractionFace(bbox=box, normalized=b"", score=score, photo_hash=""), Quality(score, parts)


def test_large_frontal_faces_are_suitable() -> None:
    """The median decides: one poor face among good ones does not matter."""
    view = judge_view([seen(90), seen(100), seen(80), seen(20, -6, yaw=-4.0)], 30, -4)
    assert (view.suits, view.advice, view.faces) == (True, (), 4)
    assert view.widths_px == (20, 85, 100)


@pytest.mark.parametrize(
    ("faces", "suits", "advice"),
    [
        ([], False, "no face was seen"),
        ([seen(20)] * 3, False, "faces are too small (20 px, min_face_px is 30)"),
        ([seen(40)] * 3, True, "faces are small (40 px; 60 are better)"),
        ([seen(90, -2, exposure=-1.5)] * 3, False, "too dark or burnt out"),
        ([seen(90, -2, pitch=-1.0)] * 3, False, "mount it lower"),
        ([seen(90, -2, yaw=-1.0)] * 3, False, "turned to the side"),
        ([seen(90, -2, roll=-1.0)] * 3, False, "tilted"),
        ([seen(90, -2, sharpness=-1.0)] * 3, False, "blurred"),
        ([seen(90, -2, outside=-1.0)] * 3, False, "cut off"),
        ([seen(90, -5)] * 3, False, "quality score -5.0 is below min_score (-4)"),
    ],
)
def test_each_defect_is_named_with_a_remedy(
    faces: list[tuple[ExtractionFace, Quality]], suits: bool, advice: str
) -> None:
    """Size, light, angle, focus and framing."""
    view = judge_view(faces, 30, -4)
    assert view.suits is suits
    assert any(advice in text for text in view.advice), view.advice
