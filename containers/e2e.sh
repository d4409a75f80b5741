#!/usr/bin/env bash
# Builds the agent's image, replays the sample in it as compose.yaml says, and looks at what came out
# and at what the container could do. `./dev e2e containers` calls this; it needs root.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source-path=SCRIPTDIR
. "$root/containers/podman-env.sh"
scratch=$(mktemp -d)
project=fortress-e2e-$$
compose() {
    "$root/.venv/bin/podman-compose" --in-pod false --project-name "$project" --file "$root/compose.yaml" "$@"
}
trap 'compose down --volumes >/dev/null 2>&1 || true; rm -rf "$scratch"' EXIT
cd "$scratch" # conmon may leave a file where it was started

step() {
    local name=$1 start=$SECONDS
    shift
    if "$@" >"$scratch/$name.log" 2>&1; then
        echo "  ok      $name ($((SECONDS - start)) s)"
    else
        echo "  FAILED  $name"
        tail -40 "$scratch/$name.log"
        exit 1
    fi
}

build() { podman_build --tag localhost/fortress-agent:latest --file "$root/containers/Containerfile.agent" "$root"; }
replay() { compose up --no-build --exit-code-from agent; }
in_image() { podman run --rm --network none --read-only --entrypoint sh localhost/fortress-agent:latest -c "$1"; }
# shellcheck disable=SC2016 # the image's shell is to expand it
no_compilers() { in_image 'for tool in gcc cc c++ clang cmake ninja; do ! command -v $tool || exit 1; done'; }
no_training() { in_image '! python -c "import sklearn"' && in_image 'python -c "import onnxruntime"'; }

# What the agent wrote is read by a container with the same limits.
results() {
    podman run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges \
        --volume "${project}_agent:/var/lib/fortress:ro" --volume "$root/containers:/containers:ro" \
        --entrypoint python localhost/fortress-agent:latest /containers/check_replay.py /var/lib/fortress
}

step base-image "$root/containers/base-image.sh"
step build build
step no-compilers no_compilers
step no-training no_training
step replay replay
step results results
cat "$scratch/results.log"
