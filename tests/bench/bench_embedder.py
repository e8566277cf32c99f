"""What a face costs the embedder on one thread, beside the model's file as it is and OpenCV's DNN.

python -m tests.bench.bench_embedder [--json] [--rounds 30]
"""

import asyncio

import cv2
import numpy as np

from pipeline.inference.onnx_graph import rewrite_model
from pipeline.inference.runtime import OnnxRuntime
from tests.bench.rows import Row, arguments, compared, show
from tests.faces import default_models, models_dir


async def measure(rounds: int) -> list[Row]:
    pack = default_models().pack
    path = models_dir() / pack.name / pack.files[1].name
    ours = OnnxRuntime().load(rewrite_model(path), "as we run it")
    plain = OnnxRuntime().load(path.read_bytes(), "as it is")
    cv2.setNumThreads(1)
    network = cv2.dnn.readNetFromONNX(str(path))
    blob = np.random.default_rng(1).uniform(0, 255, (1, 3, 112, 112)).astype(np.float32)

    async def embed() -> None:
        ours.run(blob)

    async def embed_plain() -> None:
        plain.run(blob)

    async def embed_opencv() -> None:
        network.setInput(blob)
        network.forward()

    rows = []
    for case, baseline in (("the file as it is", embed_plain), ("OpenCV DNN", embed_opencv)):
        mine, theirs, ratio = await compared(rounds, embed, baseline)
        rows.append(Row("a face embedded", f"beside {case}", mine * 1000, "ms", theirs * 1000, ratio))
    return rows


def main() -> None:
    parser = arguments("the cost of a face in the embedder")
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    show(asyncio.run(measure(given.rounds)), as_json=given.json)


if __name__ == "__main__":
    main()
