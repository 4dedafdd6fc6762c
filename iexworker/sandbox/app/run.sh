#!/bin/sh
# The sandbox's demo app. It writes its result and says what it was given, the same on any worker.
#
# Words among the arguments make it misbehave, in the order in which they are given:
#   sleep=S         take S seconds            print=N        write N lines to the output
#   big=N           add a file of N MiB       fail=N         end with exit code N
#   nocomputed      write no computed.json    brokencomputed write one that is no JSON
#   outside         name a result path that is out of /iexec_out
#   callback=HEX    answer with callback data instead of a path
# Any other argument is only told.
set -eu

out=${IEXEC_OUT:-/iexec_out}
in=${IEXEC_IN:-/iexec_in}
computed="{\"deterministic-output-path\":\"$out/result.txt\"}"

{
    echo "Hello from task ${IEXEC_TASK_INDEX:-${IEXEC_BOT_TASK_INDEX:-?}} of ${IEXEC_BOT_SIZE:-?}"
    echo "arguments: $*"
    env | grep '^IEXEC_' | sort
    [ ! -d "$in" ] || (cd "$in" && find . -type f | sort | xargs -r sha256sum)
} >"$out/result.txt"
cat "$out/result.txt"

for argument; do
    value=${argument#*=}
    case "$argument" in
        sleep=*) sleep "$value" ;;
        print=*) seq 1 "$value" ;;
        big=*) dd if=/dev/zero of="$out/big.bin" bs=1M count="$value" 2>/dev/null ;;
        fail=*) echo "failing as told, with $value" >&2 && exit "$value" ;;
        nocomputed) computed= ;;
        brokencomputed) computed='{"deterministic-output-path":' ;;
        outside) computed='{"deterministic-output-path":"/etc/passwd"}' ;;
        callback=*) computed="{\"callback-data\":\"$value\"}" ;;
    esac
done

[ -z "$computed" ] || printf '%s' "$computed" >"$out/computed.json"
