#!/usr/bin/env bash
# deploy/test-invoke.sh [IMAGE] [INPUT]: run an image of the target grand-challenge-invoke as the platform does: it stays
# up without a way out of its network, not as root, on a read-only file system with a scratch /tmp, and answers several
# invocations, each with another input. NETWORK names a network that exists, such as host; by default an internal one is
# made.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
image=${1:-aurora} input=$(realpath "${2:-test/cases}")
work=$(mktemp -d) name=aurora-invoke-$$ made=
network=${NETWORK:-}
clean() {
  docker rm -f "$name" > /dev/null 2>&1 || true
  [ -z "$made" ] || docker network rm "$made" > /dev/null 2>&1 || true
  # The files that the service wrote belong to its user.
  docker run --rm --user 0 --network none --entrypoint rm -v "$work":/scratch "$image" -rf /scratch/output /scratch/input \
    > /dev/null 2>&1 || true
  rm -rf "$work" || true
}
trap clean EXIT

# ask METHOD PATH: print the status and the body of a request, from a container in the same network.
ask() {
  docker run --rm --network "$network" --entrypoint python "$image" -c '
import sys, urllib.error, urllib.request
try:
    response = urllib.request.urlopen(urllib.request.Request(sys.argv[2], method=sys.argv[1]), timeout=600)
except urllib.error.HTTPError as error:
    response = error
except OSError as error:
    sys.exit(f"no response: {error}")
print(response.status, response.read().decode())' "$1" "http://$host:4743$2"
}

# expect STATUS METHOD PATH
expect() {
  local got
  got=$(ask "$2" "$3")
  echo "$2 $3: $got"
  [ "${got%% *}" = "$1" ] || { echo "expected the status $1" >&2; docker logs "$name" >&2; exit 1; }
}

[ "$(docker image inspect --format '{{index .Config.Labels "org.grand-challenge.api-method"}}' "$image")" = invoke ] || {
  echo "expected an image with the label org.grand-challenge.api-method=invoke; build the target grand-challenge-invoke" >&2
  exit 1
}
[ -n "$network" ] || { made=aurora-internal-$$; docker network create --internal "$made" > /dev/null; network=$made; }
host=$name
[ "$network" != host ] || host=127.0.0.1
mkdir "$work/input" "$work/output"
chmod 755 "$work" "$work/input"
chmod 777 "$work/output"
cp -r "$input/." "$work/input"
docker run -d --name "$name" --network "$network" --read-only --tmpfs /tmp --cap-drop ALL \
  --security-opt no-new-privileges -v "$work/input":/input:ro -v "$work/output":/output "$image" > /dev/null
for _ in $(seq 60); do
  ask GET /health > "$work/health" 2>&1 && grep -q '^200' "$work/health" && break
  sleep 1
done
expect 200 GET /health
expect 201 POST /invoke
expect 201 POST /invoke
# Another input in the same folder, and one that can't be used.
rm -r "$work/input/csv_files"
expect 500 POST /invoke
mkdir "$work/input/csv_files"
cp "$(find "$input/csv_files" -name '*.csv' | sort | head -n 1)" "$work/input/csv_files"
expect 201 POST /invoke
docker stop -t 70 "$name" > /dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' "$name")
[ "$code" = 0 ] || { echo "expected the exit code 0 after SIGTERM, found $code" >&2; docker logs "$name" >&2; exit 1; }
# The image checks the predictions of the last invocation.
docker run --rm --network none -v "$work/input":/input:ro -v "$work/output":/output:ro "$image" \
  pack --input /input --predictions /output --out /tmp/predictions.zip
