# shellcheck shell=bash
# Source this: podman with storage and configuration of its own, so that nothing in /etc/containers,
# /var/lib/containers or the host's network is used or changed. Images are kept in $FORTRESS_CONTAINERS.
FORTRESS_CONTAINERS=${FORTRESS_CONTAINERS:-/var/tmp/fortress-containers}
mkdir -p "$FORTRESS_CONTAINERS/networks"

# podman asks for more files and processes than a machine without CAP_SYS_RESOURCE may give.
capped() { if [[ $1 == unlimited || $1 -gt $2 ]]; then echo "$2"; else echo "$1"; fi; }
files=$(capped "$(ulimit -Hn)" 1048576)
processes=$(capped "$(ulimit -Hu)" 32768)

# crun refuses the hybrid cgroup layout, runc takes both.
runtime=crun
[[ -f /sys/fs/cgroup/cgroup.controllers ]] || runtime=runc

# What pip and TLS need inside a build on a machine that reaches its package index through local
# settings: mounted while an image is built, never written into it.
mounts=
for file in ${FORTRESS_BUILD_MOUNTS:-/etc/pip.conf /etc/ssl/certs/ca-certificates.crt}; do
    [[ -e $file ]] && mounts+="\"$file:$file:ro\", "
done

podman_conf() {
    cat <<CONF
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=$processes:$processes"]
log_driver = "k8s-file"
$1
[network]
network_backend = "netavark"
network_config_dir = "$FORTRESS_CONTAINERS/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "$runtime"
CONF
}
podman_conf "" >"$FORTRESS_CONTAINERS/run.conf"
podman_conf "volumes = [${mounts%, }]" >"$FORTRESS_CONTAINERS/build.conf"
cat >"$FORTRESS_CONTAINERS/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$FORTRESS_CONTAINERS/storage"
runroot = "/run/fortress-containers"
CONF
export CONTAINERS_STORAGE_CONF=$FORTRESS_CONTAINERS/storage.conf
export CONTAINERS_CONF=$FORTRESS_CONTAINERS/run.conf
export DISABLE_HC_SYSTEMD=true

# --format docker: the OCI format drops HEALTHCHECK. --network host: a build needs no bridge.
podman_build() {
    CONTAINERS_CONF=$FORTRESS_CONTAINERS/build.conf \
        podman build --pull=never --network host --format docker "$@"
}
