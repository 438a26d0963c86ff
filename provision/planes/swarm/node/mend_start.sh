# Start containers that Docker has given up. POSIX sh.

# list: set `networks` to the cluster's networks with a keeper here, and `stopped` to the containers that do not run. Fails
# if Docker does not answer.
list() {
    : >"$looked"
    listed=$(docker ps -a --no-trunc --format '{{.ID}} {{.State}} {{.Label "overlay-keeper"}}' 2>/dev/null) || return
    networks=$(printf '%s\n' "$listed" | awk 'NF == 3 && !seen[$3]++ { print $3 }')
    stopped=$(printf '%s\n' "$listed" | awk '$2 == "exited" || $2 == "created" { print $1 }')
}

# states ID…: print a line for each container: `ID NAME POLICY STARTED FINISHED NETWORK=NETWORK-ID… : "ERROR"`.
states() {
    # shellcheck disable=SC2016 # $name and $on are Docker's
    networks_of='{{range $name, $on := .NetworkSettings.Networks}} {{$name}}={{$on.NetworkID}}{{end}}'
    times='{{.State.StartedAt}} {{.State.FinishedAt}}'
    docker inspect --format '{{.Id}} {{slice .Name 1}} {{or .HostConfig.RestartPolicy.Name "no"}} '"$times$networks_of"' : {{json .State.Error}}' "$@" 2>/dev/null
}

# given_up BEGAN NETWORKS < states: print `ID NAME, which …` for each container on a swarm network that should run. BEGAN:
# when dockerd began, or nothing; NETWORKS: the cluster's.
#
# The ID of a swarm network has 25 characters; that of any other has 64. A container that never started knows its networks
# only by name. Docker writes why a container could not start, and nothing when a user stops one. A container that dockerd
# stopped at its start was started before that, and ended after it. It is no container that a user has stopped: this dockerd
# would have started such a one itself.
given_up() {
    awk -v began="$1" -v ours=" $2 " "$network_errors"'
    NF > 5 && $3 != "no" {
        network = ""
        for (i = 6; i < NF && $i != ":"; i++) {
            name = $i; sub("=[^=]*$", "", name)
            id = $i; sub(".*=", "", id)
            if (length(id) == 25 || (id == "" && index(ours, " " name " "))) network = name
        }
        if (!network) next
        error = substr($0, index($0, " : ") + 3)
        if (error == "\"\"") {
            if ($3 == "unless-stopped" && $4 < began && $5 > began)
                print $1, $2 ", which Docker stopped when it started"
            next
        }
        if (is_network_error(error)) print $1, $2 ", which could not attach to network " network
    }'
}

# look: set `failed` to the containers that are to be started, a line each. Fails if Docker does not answer.
look() {
    list || return
    states_now=
    # shellcheck disable=SC2086 # a word a container
    [ -z "$stopped" ] || states_now=$(states $stopped) # one may have been removed meanwhile
    # shellcheck disable=SC2086 # a word a network
    failed=$(printf '%s\n' "$states_now" | given_up "$began" "$(printf '%s ' $networks)")
    [ "$failed" ] || tries=0
}

# start: start the containers in `failed`, eight at a time, because an attempt may take Docker 20 s. It says so once if many
# attempts have failed.
start() {
    [ "$failed" ] || return 0
    while read -r id name _; do
        give_up_address "$id" "${name%,}" &
    done <<EOF
$failed
EOF
    wait
    started=$(printf '%s\n' "$failed" | cut -d ' ' -f 1 | xargs -n 1 -P 8 timeout 60 docker start 2>/dev/null)
    tries=$((tries + 1))
    while read -r id what; do
        if is_line "$id" "$started"; then
            tries=0
            count
            say "started: $what"
        elif [ "$tries" = "$many" ]; then
            say "not started: $what, after $many attempts; the next ones follow every $slow s"
        fi
    done <<EOF
$failed
EOF
}

# count: count a container that was started.
count() {
    number=0
    [ ! -r "$count_file" ] || read -r number <"$count_file"
    printf '%s\n' $((number + 1)) >"$count_file.new" && mv -f "$count_file.new" "$count_file"
}

# has_failed: succeed if Docker has written to disk since the last look why a container could not start, or if it is unknown
# where Docker writes.
has_failed() {
    [ -d "$folder" ] || return 0
    find "$folder" -mindepth 2 -maxdepth 2 -name config.v2.json -newer "$looked" \
        -exec grep -q '"Error":"[^"]' {} \; -print | grep -q .
}

