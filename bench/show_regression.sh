#!/usr/bin/env bash
# Shows that the comparison catches a slowdown: saves a run, then expects a slower one to be refused.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

storage=$(mktemp -d)
trap 'rm -rf "$storage"' EXIT
bench() {
    .venv/bin/python -m pytest bench/test_core.py --benchmark-only -q \
        --benchmark-storage="file://$storage" "$@"
}

bench --benchmark-autosave
echo "-- as slow as before: expected to pass"
bench --benchmark-compare=0001 --benchmark-compare-fail=median:30%
echo "-- half as slow again on purpose: expected to be refused"
if FORTRESS_BENCH_SLOWER=0.5 bench --benchmark-compare=0001 --benchmark-compare-fail=median:10% \
    2>"$storage/refusal"; then
    echo "show_regression: the slowdown went unnoticed" >&2
    exit 1
fi
grep PerformanceRegression "$storage/refusal"
echo "-- refused, as it should be"
