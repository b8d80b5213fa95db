#!/bin/sh
# Inside the image: install packages with pip into /opt/venv, without the files that are not needed at run time.
set -eu
pip --python /opt/venv/bin/python install --no-cache-dir --no-compile "$@"
libraries=$(/opt/venv/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")
find "$libraries" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
rm -rf "$libraries"/torch/include "$libraries"/torch/share/cmake
# The Python module needs neither the C library of ONNX Runtime nor its tools for building models.
rm -rf "$libraries"/onnxruntime/capi/libonnxruntime.so* "$libraries"/onnxruntime/transformers \
  "$libraries"/onnxruntime/tools "$libraries"/onnxruntime/quantization
# Reproducible bytecode; files for other versions of Python are skipped.
/opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$libraries" > /dev/null || true
