# Whether containers are well again: which run, and which answer by name. POSIX sh; needs the docker command;
# start_errors.sh comes before it.

# list_containers: print each container's name, state, restart policy, networks, whether Docker could not connect it to one
# (`cut-off`), and why Docker could not start it. One may vanish before it is looked at: then all are listed once more.
list_containers() {
    shown="{{.Name}}$tab{{.State.Status}}$tab{{.HostConfig.RestartPolicy.Name}}$tab{{range \$name, \$_ := .NetworkSettings.Networks}}{{\$name}},{{end}}$tab{{printf \"%q\" .State.Error}}"
    for _ in 1 2; do
        identities=$(timeout 20 docker ps -a --no-trunc --format "$listed_id") || exit 1
        [ -n "$identities" ] || return 0
        # shellcheck disable=SC2086 # a word a container
        lines=$(timeout 20 docker inspect -f "$shown" $identities) || continue
        printf '%s\n' "$lines" | awk -F "$tab" -v OFS="$tab" "$network_errors"'
            { error = $5 == "\"\"" ? "" : $5; print $1, $2, $3, $4, is_network_error(error) ? "cut-off" : "", error }'
        return 0
    done
    exit 1
}

# ask_names KEEPER NAME…: from inside a keeper, print the keeper and each name that does not answer, and `.` at the end.
# What drops pings may still refuse a connection, which is an answer.
ask_names() {
    keeper=$1
    shift
    # shellcheck disable=SC2016 # the shell in the keeper expands it
    timeout 20 docker exec "$keeper" sh -c '
        for name; do
            {
                ping -c 1 -W 2 "$name" || wget -T 2 -O - "http://$name:9/" 2>&1 | grep -q refused
            } >/dev/null 2>&1 || echo "$name" &
        done
        wait
        echo .' sh "$@" 2>/dev/null | while read -r name; do printf '%s\t%s\n' "$keeper" "$name"; done
}
