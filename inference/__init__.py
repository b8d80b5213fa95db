"""Uses a checkpoint: answers every row of an input folder in the challenge's format."""

import os

# Read when onnxruntime is first imported; a container on a closed machine reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
