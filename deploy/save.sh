#!/usr/bin/env bash
# deploy/save.sh [IMAGE] [FILE]: write an image as a compressed tar file for the upload, and its SHA-256.
set -euo pipefail
image=${1:-aurora} file=${2:-aurora.tar.gz}
docker save "$image" | gzip > "$file.part"
mv "$file.part" "$file"
sha256sum "$file" | tee "$file.sha256"
