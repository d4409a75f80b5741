#!/usr/bin/env bash
# Builds the images; replays the sample as compose.yaml says; starts guard and agent as compose.yaml
# says on a gateway in a network namespace, has it attacked, and looks at what came out and at what
# the containers could do. `./dev e2e containers` calls this; it needs root.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source-path=SCRIPTDIR
. "$root/containers/podman-env.sh"
scratch=$(mktemp -d)
project=fortress-e2e-$$
compose=("$root/.venv/bin/podman-compose" --in-pod false --project-name "$project"
    --file "$root/compose.yaml" --profile replay --profile powercap --profile trainer)
gateway=$project-gw stranger=$project-st
tidy() {
    "${compose[@]}" down --volumes >/dev/null 2>&1 || true
    ip netns delete "$gateway" 2>/dev/null || true
    ip netns delete "$stranger" 2>/dev/null || true
    rm -rf "$scratch"
}
trap tidy EXIT
export ETC_FORTRESS=$scratch/etc SYSFS=$scratch/sys MODEL_KEY=$scratch/keys/model.key
cd "$scratch" # conmon may leave a file where it was started
ln -s "$root/containers" containers # paths in security_opt begin where compose is started

step() {
    local name=$1 start=$SECONDS failed
    shift
    set +e # an `if` around it would let each step go on after a failure
    (set -e; "$@") >"$scratch/$name.log" 2>&1
    failed=$?
    set -e
    if ((failed)); then
        echo "  FAILED  $name"
        tail -40 "$scratch/$name.log"
        exit 1
    fi
    echo "  ok      $name ($((SECONDS - start)) s)"
}

build() {
    for target in guard agent trainer; do
        podman_build --target "$target" --tag "localhost/fortress-$target:latest" \
            --file "$root/containers/Containerfile.agent" "$root"
    done
}
replay() { "${compose[@]}" up --no-build --exit-code-from replay replay; }
in_image() { podman run --rm --network none --read-only --entrypoint sh "localhost/fortress-$1:latest" -c "$2"; }
no_compilers() {
    for image in guard agent trainer; do
        # shellcheck disable=SC2016 # the image's shell is to expand it
        in_image $image 'for tool in gcc cc c++ clang clang-14 llc-14 cmake ninja; do ! command -v $tool || exit 1; done'
    done
}
no_training() { in_image agent '! python -c "import sklearn"' && in_image agent 'python -c "import onnxruntime"'; }
# shellcheck disable=SC2016 # the image's shell is to expand it
guard_is_small() { in_image guard 'for name in numpy onnxruntime flask pydantic; do ! python -c "import $name" || exit 1; done'; }

# What the agent wrote is read by a container with the same limits.
results() {
    podman run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges \
        --volume "${project}_replay:/var/lib/fortress:ro" --volume "$root/containers:/containers:ro" \
        --entrypoint python localhost/fortress-agent:latest /containers/check_replay.py /var/lib/fortress
}

# A gateway and a stranger on a wire, and no way out.
wire() {
    ip netns add "$gateway"
    ip netns add "$stranger"
    ip link add lan0 netns "$gateway" type veth peer name eth0 netns "$stranger"
    ip -n "$gateway" address add 192.168.77.1/24 dev lan0
    ip -n "$stranger" address add 192.168.77.66/24 dev eth0
    for space in "$gateway" "$stranger"; do
        ip -n "$space" link set lo up
    done
    ip -n "$gateway" link set lan0 up
    ip -n "$stranger" link set eth0 up
}

# The configuration that ships, with what a user would fill in.
configured() {
    cp -r "$root/containers/etc" "$scratch/etc"
    sed -i 's/^interfaces = .*/interfaces = ["lan0"]/; s/^mode = .*/mode = "enforce"/' "$scratch/etc/fortress.toml"
    sed -i 's/^# lan_ports = .*/lan_ports = ["lan0"]\nbackends = ["nftables", "xdp"]/' "$scratch/etc/guard.toml"
    chmod -R a+rX "$scratch/etc"
}

# The installation's key, which is the trainer's user's alone; who else wants to verify has the other half.
keys() {
    install -d -o 1000 -g 1000 -m 700 "$scratch/keys"
    podman run --rm --network none --user 1000:1000 --volume "$scratch/keys:/keys" \
        localhost/fortress-agent:latest model keygen --out /keys/model.key
    install -m 644 "$scratch/keys/model.pub" "$scratch/etc/model.pub"
    printf '\n[models]\ntrusted = ["/etc/fortress/model.pub"]\n' >>"$scratch/etc/fortress.toml"
}
# While the agent runs: the trainer signs what ships; the agent verifies it and may not write it.
train() {
    "${compose[@]}" run --rm -T trainer
    in_agent() { podman exec "${project}_agent_1" "$@"; }
    [[ $(in_agent fortress model list --json | grep -c '"problem": ""') == 6 ]]
    in_agent fortress model promote flow-classifier "$(in_agent sh -c 'ls models/flow-classifier')"
    in_agent sh -c '! touch models/mine && touch model_state/mine && rm model_state/mine'
    in_agent sh -c '! ls /run/secrets'
}

# Files shaped like /sys where there is no RAPL: what is looked at is the reader's container.
energy_counters() {
    local zone=$scratch/sys/devices/virtual/powercap/intel-rapl/intel-rapl:0
    mkdir -p "$zone" "$scratch/sys/class/powercap"
    ln -s ../../devices/virtual/powercap/intel-rapl/intel-rapl:0 "$scratch/sys/class/powercap/"
    echo package-0 >"$zone/name"
    echo 262143328850 >"$zone/max_energy_range_uj"
    echo 1000000 >"$zone/energy_uj"
    chmod 400 "$zone/energy_uj"
}
on_gateway() { nsenter --net="/run/netns/$gateway" "$@"; } # `ip netns exec` would hide the cgroups
up() { on_gateway "${compose[@]}" up --no-build -d guard agent powercap; }
live() {
    on_gateway "$root/.venv/bin/python" "$root/containers/check_live.py" \
        "$stranger" "${project}_guard_1" "${project}_agent_1" "${project}_powercap_1" || {
        for service in guard agent powercap; do
            podman logs "${project}_${service}_1"
        done
        return 1
    }
}
# Asked to stop, all do so by themselves.
stop() {
    for service in agent guard powercap; do
        podman stop --time 20 "${project}_${service}_1"
        [[ $(podman inspect --format '{{.State.ExitCode}}' "${project}_${service}_1") == 0 ]]
    done
}

step base-image "$root/containers/base-image.sh"
step build build
step no-compilers no_compilers
step no-training no_training
step guard-is-small guard_is_small
step replay replay
step results results
step wire wire
step configured configured
step keys keys
step energy-counters energy_counters
step up up
step live live
step train train
step stop stop
cat "$scratch/results.log" "$scratch/live.log"
