#!/usr/bin/env bash
# Builds the fuzz targets with sanitizers and runs each for its share of SECONDS (default 60).
# Exit code 1 when one of them finds something; the input that shows it stays in .cache/fuzz/found.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

seconds=${1:-60}
python=.venv/bin/python
[[ -x $python ]] || python=python3
out=.cache/fuzz
rm -rf $out/objects
mkdir -p $out/found $out/corpus $out/objects
targets=(tests/fuzz/fuzz_*.c)
flags=(-std=gnu11 -D_GNU_SOURCE -O1 -g -fno-omit-frame-pointer
    "-fsanitize=fuzzer-no-link,address,undefined"
    -fno-sanitize-recover=all -DFX_WITH_ZLIB=1 -DFX_WITH_ZSTD=1 -Icore_ext/include -Icore_ext/src)

"$python" -m tests.fuzz.seeds $out/seeds
cp -r $out/seeds/fuzz_capture $out/seeds/fuzz_stream
for source in core_ext/src/*.c; do
    [[ $source == */bpf_* ]] && continue # needs libbpf, and reads nothing that a stranger sent
    clang-14 "${flags[@]}" -c "$source" -o "$out/objects/$(basename "$source" .c).o"
done
failed=0
for source in "${targets[@]}"; do
    name=$(basename "$source" .c)
    clang-14 "${flags[@]}" -fsanitize=fuzzer "$source" $out/objects/*.o -lz -lzstd -lm -o "$out/$name"
    mkdir -p "$out/corpus/$name" "$out/seeds/$name"
    if "$out/$name" -max_total_time=$((seconds / ${#targets[@]})) -max_len=4096 -timeout=10 \
        -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 -artifact_prefix="$out/found/$name-" \
        "$out/corpus/$name" "$out/seeds/$name" >"$out/$name.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$name.log")
        echo "$name: $runs inputs, nothing found"
    else
        cat "$out/$name.log"
        echo "$name: see $out/found" >&2
        failed=1
    fi
done
exit $failed
