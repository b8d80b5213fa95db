"""Run a checkpoint with ONNX Runtime or PyTorch: from images to raw outputs."""

import os

# Read when onnxruntime is first imported; AURORA never contacts a server.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
