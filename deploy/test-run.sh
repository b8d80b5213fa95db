#!/usr/bin/env bash
# deploy/test-run.sh [IMAGE] [INPUT]: runs an image exactly as the organisers do (with GPUS="--gpus all" on a GPU), but
# with no network and a fresh output folder, and fails on any line on stderr and on any row without a valid answer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
image=${1:-aurora} input=$(realpath "${2:-test/cases}")
work=$(mktemp -d)
clean() {
  rm -rf "$work" 2> /dev/null && return
  # What another user has written in the container, this one can't remove.
  docker run --rm --user 0 --entrypoint rm -v "$work":/made "$image" -rf /made/output || true
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
# The image checks its own answers.
docker run --rm --network none -v "$input":/input/:ro -v "$work/output":/output:ro "$image" \
  pack --input /input --predictions /output --out /tmp/predictions.zip
