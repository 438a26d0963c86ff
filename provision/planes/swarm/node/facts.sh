# Print facts of a node's part in its swarm. POSIX sh; provision/node/facts.sh comes before it, and the survey sets `docker`.

# fact_swarm_certificates: print the certificate that this node's daemon shows to the swarm, and the authorities it trusts.
fact_swarm_certificates() {
    # shellcheck disable=SC2154 # the survey's
    for name in node root-ca; do
        file=$docker/swarm/certificates/swarm-$name.crt
        [ ! -f "$file" ] || fact_encoded answer "swarm-$name" <"$file"
    done
}
