"""The analysis pipeline: from frames to sightings. No network, no database, no clock of its own."""

import os

# Disables the telemetry of ONNX Runtime, which reads this variable when it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
