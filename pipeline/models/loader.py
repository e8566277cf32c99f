"""Loads the models of a pack."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ModelError
from pipeline.faces.attributes import Attributes, load_attributes
from pipeline.faces.detector import Detector, YuNetDetector
from pipeline.faces.embedder import Embedder, SFaceEmbedder
from pipeline.faces.recognisability import YUNET, RecognisabilityModel
from pipeline.inference.onnx_graph import rewrite_model
from pipeline.inference.runtime import OnnxRuntime, Runtime
from pipeline.models.insightface import load_insightface
from pipeline.models.pack_files import folder_of, is_present
from pipeline.models.packs import Engine, Pack

_MIN_SCORE = 0.3
"""Low, because low-score faces may continue a track, and refinement compares scores."""


@dataclass(frozen=True, slots=True)
class Models:
    """The loaded models of a pack. Thread-safe."""

    pack: Pack
    detector: Detector
    near_detector: Detector | None
    """A detector that is fast on small cut-outs; None if the pack's detector has a fixed large input. Without
    it, landmarks are not refined, and the orientation of faces is not checked."""
    embedder: Embedder
    recognisability: RecognisabilityModel | None = None
    """None if no coefficients are known for the pack's detector; then every detection counts as
    recognisable."""
    attributes: Attributes | None = None
    runtime: str = OnnxRuntime.name
    """The name of the inference runtime that runs them."""


def load(
    pack: Pack,
    models_dir: Path,
    threads: int = 1,
    *,
    genderage: Path | None = None,
    emotions: Path | None = None,
    runtime: Runtime | None = None,
) -> Models:
    """Load a pack that is on disk.

    threads: number of threads per inference. genderage, emotions: optional model files, see
    `pipeline.faces.attributes`. runtime: default: ONNX Runtime, which insightface's packs require.

    Raises:
        ModelError: a file is missing or wrong.
    """
    folder = folder_of(pack, models_dir)
    if not is_present(pack, models_dir):
        raise ModelError(f"the model pack {pack.name} is not in {folder}; fetch it first")
    runtime = runtime or OnnxRuntime(threads)
    optional_attributes = load_attributes(genderage, emotions, runtime)
    if pack.engine is Engine.INSIGHTFACE:
        if not isinstance(runtime, OnnxRuntime):
            raise ModelError(f"the pack {pack.name} runs in ONNX Runtime only, not in {runtime.name}")
        detector, near, embedder, attributes = load_insightface(folder, runtime)
        return Models(
            pack, detector, near, embedder, attributes=optional_attributes or attributes, runtime=runtime.name
        )
    yunet, sface = (folder / file.name for file in pack.files)
    session = runtime.load(rewrite_model(yunet, free_size=True), str(yunet))
    zoo_detector = YuNetDetector(session, _MIN_SCORE)
    zoo_embedder = SFaceEmbedder(runtime.load(rewrite_model(sface), str(sface)))
    return Models(
        pack,
        zoo_detector,
        zoo_detector,
        zoo_embedder,
        RecognisabilityModel(zoo_detector, YUNET),
        optional_attributes,
        runtime.name,
    )
