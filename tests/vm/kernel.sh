#!/usr/bin/env bash
# Runs a command in this checkout on Debian 12's own kernel, in a virtual machine without hardware help.
#   tests/vm/kernel.sh COMMAND [ARG…]
# The machine sees this machine's files read-only beneath a layer of memory: what the command writes is
# gone afterwards, except what it writes to the folder $OUT, which is FORTRESS_VM_OUT here.
# Exit status: the command's; 124 when it did not end in FORTRESS_VM_SECONDS (default 900).
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
checkout=$(readlink -f "$here/../..")
cache=$checkout/.cache/vm
(($#)) || { sed -n '2,3s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$cache"
exec 8>"$cache/lock"
flock 8

abi=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: linux-image-//p' | head -1)
[[ -n $abi ]] || { echo "vm: apt knows no linux-image-amd64 (apt-get update)" >&2; exit 1; }
kernel=$cache/$abi

# The kernel's package, unpacked; nothing is installed here.
if [[ ! -e $kernel/ready ]]; then
    rm -rf "$kernel" && mkdir -p "$kernel"
    (cd "$kernel" && apt-get -qq -o APT::Sandbox::User=root download "linux-image-$abi" >&2 && dpkg-deb -x ./*.deb . && rm ./*.deb)
    /sbin/depmod -b "$kernel" "$abi"
    : >"$kernel/ready"
fi

# A first root with what it takes to reach the files of this machine.
first=$(mktemp -d)
trap 'rm -rf "$first"' EXIT
mkdir -p "$first"/{bin,proc,sys,dev,host,layer,modules}
cp /bin/busybox "$first/bin/"
cp "$here/init" "$first/init"
for module in virtio_pci virtio_rng 9pnet_virtio 9p overlay; do
    /sbin/modprobe -S "$abi" -d "$kernel" --show-depends "$module" | sed -n 's/^insmod //p'
done | awk '!seen[$1]++ { print $1 }' >"$first/paths"
while read -r path; do
    cp "$path" "$first/modules/"
    basename "$path" >>"$first/modules/order"
done <"$first/paths"
rm "$first/paths"
out=${FORTRESS_VM_OUT:-$cache/out}
mkdir -p "$out"
{
    printf 'CHECKOUT=%q\nMODULES=%q\n' "$checkout" "$kernel/lib/modules"
    printf 'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n'
    printf 'export TEST_PATIENCE=6\n' # without hardware help all takes that much longer, and more
    for name in "${!FORTRESS_@}" "${!CI@}"; do printf 'export %s=%q\n' "$name" "${!name}"; done
    printf 'run() {'
    printf ' %q' "$@"
    printf '; }\n'
} >"$first/command"
(cd "$first" && find . | cpio -o -H newc --quiet | gzip -1) >"$cache/first.cpio.gz"

log=$cache/console.log
: >"$log"
code=0
timeout "${FORTRESS_VM_SECONDS:-900}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 \
    -nographic -nodefaults -no-reboot -serial mon:stdio -device virtio-rng-pci \
    -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
    -virtfs "local,path=$out,mount_tag=out,security_model=none" \
    -kernel "$kernel/boot/vmlinuz-$abi" -initrd "$cache/first.cpio.gz" \
    -append "console=ttyS0 panic=-1 quiet" </dev/null 2>&1 | tr -d '\r' | tee "$log" |
    sed -un '1,/fortress-vm: begin/d; /^fortress-vm: status/,$d; p' || code=$?
status=$(sed -n 's/^fortress-vm: status \([0-9]*\)$/\1/p' "$log" | tail -1)
if [[ -z $status ]]; then
    echo "vm: the machine ended without a word (exit $code); its console: $log" >&2
    exit 124
fi
exit "$status"
