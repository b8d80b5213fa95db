"""A checkpoint as a loaded model, in ONNX Runtime or in PyTorch: images in, raw answers out."""

import os

# Read when onnxruntime is first imported; a container on a closed machine reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
