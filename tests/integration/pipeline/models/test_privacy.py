"""No telemetry leaves the box."""

import os
import subprocess
import sys
from pathlib import Path

from tests.faces import default_models, models_dir

LOAD = """
import sys
from pathlib import Path
from pipeline.inference.runtime import OnnxRuntime
OnnxRuntime().load(Path(sys.argv[1]).read_bytes(), "YuNet")
"""


def test_loading_a_model_leaves_no_trace_of_telemetry(tmp_path: Path) -> None:
    """ONNX Runtime creates neither an identifier of this machine nor a queue of reports."""
    detector = next(file.name for file in default_models().pack.files if "yunet" in file.name)
    model = models_dir() / "opencv-zoo" / detector
    quiet = ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in quiet}

    subprocess.run(
        [sys.executable, "-c", LOAD, str(model)],
        env=environment | {"HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )

    assert list(tmp_path.iterdir()) == []
