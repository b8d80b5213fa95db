#!/usr/bin/env bash
# deploy/build.sh [TARGET] [IMAGE]: build an image, by default the target full with the tag aurora.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${1:-full} image=${2:-aurora}
DOCKER_BUILDKIT=1 docker build --target "$target" --tag "$image" \
  --build-arg SOURCE="$(git remote get-url origin 2>/dev/null || echo unknown)" \
  --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" .
docker image inspect --format '{{.Size}}' "$image" | awk -v name="$image" '{ printf "%s: %.0f MB\n", name, $1 / 1e6 }'
