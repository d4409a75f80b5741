#!/usr/bin/env bash
# Makes a base image from Debian's packages where no container registry can be reached: a minimal
# Debian 12 with its Python 3.11, named as the official image it stands in for. Kept once made.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
# shellcheck source-path=SCRIPTDIR
. ./podman-env.sh
name=localhost/python:3.11-slim-bookworm
podman image exists "$name" && exit 0

sources=${FORTRESS_APT_SOURCES:-/etc/apt/sources.list.d/debian.sources} # the machine's own
[[ -e $sources ]] || sources=/etc/apt/sources.list
tar=$FORTRESS_CONTAINERS/base.tar
trap 'rm -f "$tar"' EXIT
exclude=()
for path in man locale info lintian; do
    exclude+=(--dpkgopt="path-exclude=/usr/share/$path/*")
done
# shellcheck disable=SC2016 # "$1" is for mmdebstrap's hooks: the new system's root
mmdebstrap --quiet --variant=minbase --mode=root --format=tar "${exclude[@]}" \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --include=ca-certificates,netbase,tzdata,python3,python3-pip,python3-venv \
    --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
    --customize-hook='cd "$1"/usr/local/bin && ln -s /usr/bin/python3 python && ln -s /usr/bin/python3 python3 && ln -s /usr/bin/pip3 pip' \
    --customize-hook='rm -f "$1"/etc/hostname "$1"/var/cache/apt/*.bin; : >"$1"/etc/resolv.conf' \
    bookworm "$tar" "$sources"
podman import --quiet --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' \
    --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' "$tar" "$name"
