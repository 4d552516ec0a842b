#!/bin/sh
# run_fuzzer.sh FUZZER SEEDS CORPUS: runs a libFuzzer target for CITADEL_FUZZ_SECONDS (default 5) from its seeds.
set -eu
fuzzer=$1 seeds=$2 corpus=$3
mkdir -p "$corpus"
test -n "$(ls -A "$seeds")" || { echo "no seeds in $seeds"; exit 1; }
exec "$fuzzer" -max_total_time="${CITADEL_FUZZ_SECONDS:-5}" -timeout=5 -rss_limit_mb=2048 -max_len=65536 \
  -artifact_prefix="$corpus/../$(basename "$fuzzer")-" -print_final_stats=1 "$corpus" "$seeds"
