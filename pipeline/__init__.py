"""What a frame becomes. Pure: no network, no database, no clock of its own."""

import os

# The released ONNX Runtime tells its maker what it is used for. It reads this once, when it is first
# imported, and every import of it, insightface's too, comes after this one.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
