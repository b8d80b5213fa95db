#!/usr/bin/env bash
# Check everything that needs a GPU in less than 8 minutes, and write RESULT.json and RESULT.md:
#   bash deploy/gpu-check.sh RESULT.json
# It needs requirements-dev.txt and, for ONNX Runtime on the GPU, onnxruntime-gpu in the place of onnxruntime; what isn't
# installed is skipped. DEVICE=cpu rehearses it.
set -euo pipefail
exec python -m training gpu-check --out "${1:-gpu-check.json}" --device "${DEVICE:-cuda}" --limit-s 470
