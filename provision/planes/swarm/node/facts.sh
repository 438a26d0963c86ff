# Print facts of a node's part in its swarm. POSIX sh; provision/node/facts.sh comes before it, and the survey sets `docker`.

# fact_swarm_certificates: print the certificate that this node's daemon shows to the swarm, and the authorities it trusts.
fact_swarm_certificates() {
    # shellcheck disable=SC2154 # the survey's
    for name in node root-ca; do
        file=$docker/swarm/certificates/swarm-$name.crt
        [ ! -f "$file" ] || fact_encoded answer "swarm-$name" <"$file"
    done
}

# fact_swarm_address: print the address at which this node's daemon is in its swarm, though the daemon may not answer.
fact_swarm_address() {
    # shellcheck disable=SC2154 # the survey's
    sed -n 's/.*"AdvertiseAddr": *"\([0-9.]*\).*/\1/p' "$docker/swarm/docker-state.json" 2>/dev/null | fact_encoded answer swarm-address
}

# fact_encryption: print whether the kernel can encrypt as Docker wants it. Tried in a network namespace of its own, with a
# key that is none.
fact_encryption() {
    unshare -n ip xfrm state add src 10.1.1.1 dst 10.1.1.2 proto esp spi 0x99 mode transport \
        aead 'rfc4106(gcm(aes))' 0x0000000000000000000000000000000000000000 64 2>/dev/null || return 0
    printf yes | fact_encoded answer encryption
}

# fact_swarm_contents: print the services, secrets and configs of the swarm that this node manages, a line `KIND NAME` each,
# and `unseen KIND` for those that Docker does not list.
fact_swarm_contents() {
    is_active docker.service && command -v docker >/dev/null || return 0
    {
        for kind in service secret config; do
            timeout 10 docker "$kind" ls --format "$kind {{.Name}}" 2>/dev/null || echo "unseen $kind" &
        done
        wait
    } | fact_encoded answer swarm-contents
}

# fact_swarm_tasks NETWORK…: print the containers that this node's daemon knows on the networks, a line `NAME HOST` each.
fact_swarm_tasks() {
    for network; do
        docker network inspect -v -f '{{range .Services}}{{range .Tasks}}{{.Name}} {{index .Info "Host IP"}}
{{end}}{{end}}' "$network" 2>/dev/null
    done | fact_encoded answer swarm-tasks
}
