# What the scripts by hand share: the nodes, a connection to each, and waiting. bash. Their words are NAME=ADDRESS…, and
# they set `ssh_config`.
# shellcheck shell=bash disable=SC2034,SC2154

names=() pairs=("$@")
declare -A address=()
for pair in "${pairs[@]}"; do
    names+=("${pair%%=*}")
    address[${pair%%=*}]=${pair#*=}
done

started=$EPOCHREALTIME
work=$(mktemp -d "${TMPDIR:-/tmp}/by-hand.XXXXXX")
# One connection a node, opened by the first command and shared by those after it.
connect=(ssh -F "$ssh_config" -o BatchMode=yes -o ControlMaster=auto -o ControlPersist=60 -o "ControlPath=$work/%n.socket")

finish() {
    for name in "${names[@]}"; do
        "${connect[@]}" -O exit "$name" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

# Wait for the background jobs given; fail if one of them failed.
all() {
    local job failed=0
    for job in "$@"; do
        wait "$job" || failed=1
    done
    return "$failed"
}
