#!/usr/bin/env bash
# deploy/test-run.sh [IMAGE] [INPUT]: run an image exactly as the organisers do (with GPUS="--gpus all" on a GPU), but
# without a network and with a fresh output folder. Fail on any line on stderr and any row without a valid prediction.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
image=${1:-aurora} input=$(realpath "${2:-test/cases}")
work=$(mktemp -d)
clean() {
  rm -rf "$work" 2> /dev/null && return
  # Files that another user wrote in the container can only be removed there.
  docker run --rm --user 0 --entrypoint rm -v "$work":/scratch "$image" -rf /scratch/output || true
  rm -rf "$work" || true
}
trap clean EXIT
chmod 755 "$work"
mkdir "$work/output"
[ "$(docker image inspect --format '{{.Config.User}}' "$image")" = "" ] || chmod 777 "$work/output"
# shellcheck disable=SC2086
docker run ${GPUS:-} --rm --network none -v "$input":/input/:ro -v "$work/output":/output "$image" 2> "$work/stderr" || { code=$?; cat "$work/stderr" >&2; exit $code; }
cat "$work/stderr" >&2
[ ! -s "$work/stderr" ] || { echo "expected nothing on stderr, found the lines above" >&2; exit 1; }
# The image checks its own predictions.
docker run --rm --network none -v "$input":/input/:ro -v "$work/output":/output:ro "$image" \
  pack --input /input --predictions /output --out /tmp/predictions.zip
