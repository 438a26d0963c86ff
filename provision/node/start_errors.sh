# Docker's errors of containers that could not start, in Docker's words. POSIX sh.

# For awk: whether Docker could not connect a container to a network. A port that is taken, a network that takes no
# containers, and a program that is missing are no fault of the network. (Docker 20.10, 26.1 and 28.)
# shellcheck disable=SC2034 # for others
network_errors='
function is_network_error(error) {
    if (error ~ /external connectivity|not manually attachable|OCI runtime|shim task|exec: /) return 0
    return error ~ /[Nn]etwork.*not found|[Aa]ttach.*network|network.*attach|container networking/ ||
        error ~ /[Nn]etwork.*(endpoint|sandbox)|(endpoint|sandbox).*[Nn]etwork/
}
'
