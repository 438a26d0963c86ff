# Facts of the package that Docker comes from. POSIX sh; only where the inventory names a version of Docker.

# fact_docker_package PACKAGE: print which package dockerd's file is of, in which state dpkg has that, who holds it, which
# versions apt knows of PACKAGE, the latest first, and whether dockerd runs from a file that was replaced.
fact_docker_package() {
    {
        owner=$(dpkg-query -S "$(readlink -f "$(command -v dockerd)")" 2>/dev/null | sed 's/[:,].*//;q')
        [ -z "$owner" ] || {
            printf 'package %s\n' "$owner"
            dpkg-query -W -f 'status ${Status}\n' "$owner"
            printf 'held %s\n' "$(docker_holder "$owner")"
        }
        offered_versions "$1" | sed 's/^/offered /'
        case $(readlink "/proc/${dockerd_process:-none}/exe") in *' (deleted)') printf 'stale yes\n' ;; esac
    } 2>/dev/null | fact_encoded answer docker-package
}

# offered_versions PACKAGE: print the versions of a package that apt knows, the latest first.
offered_versions() {
    apt-cache madison "$1" 2>/dev/null | cut -d'|' -f2 | tr -d ' '
}

# docker_holder PACKAGE: print who holds the package: `ours`, as the record says, `user`, or nothing.
docker_holder() {
    apt-mark showhold "$1" 2>/dev/null | grep -q . || return 0
    if grep -qs "^hold${tab}package $1$tab" "$state/record"; then printf ours; else printf user; fi
}
