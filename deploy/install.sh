#!/bin/sh
# Inside the image: installs what pip is told into /opt/venv, and leaves there only what running needs.
set -eu
pip --python /opt/venv/bin/python install --no-cache-dir --no-compile "$@"
libraries=$(/opt/venv/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")
find "$libraries" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
rm -rf "$libraries"/torch/include "$libraries"/torch/share/cmake
# What ONNX Runtime has for programs in C, and its tools for making models; Python's module holds all that it needs.
rm -rf "$libraries"/onnxruntime/capi/libonnxruntime.so* "$libraries"/onnxruntime/transformers \
  "$libraries"/onnxruntime/tools "$libraries"/onnxruntime/quantization
# Bytecode that is the same whenever it is made; what isn't Python of this version is passed over.
/opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$libraries" > /dev/null || true
