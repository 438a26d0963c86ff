# Copy what a manager keeps of its swarm, while it is at work. POSIX sh; provision/node/library.sh comes before it.

# save_swarm ROOT: print `copy:`, and an archive of the manager's log and certificates in Docker's folder, encoded. Where
# something was written meanwhile, a further copy follows: the last one counts. The log ends where the copy began, or later.
# The archive is on no disk here: it holds the key of the swarm.
save_swarm() {
    cd "$1/swarm" 2>/dev/null || die "there is no swarm in $1"
    sparse=
    case $(tar --version 2>/dev/null) in *GNU*) sparse=--sparse ;; esac # the log is mostly holes
    for _ in 1 2 3; do
        before=$(written)
        echo copy:
        copy_swarm || die "tar cannot copy the swarm in $1"
        [ "$before" != "$(written)" ] || break
    done
}

# written: print each file of the swarm, with its inode, its size and its times.
written() {
    find raft certificates -type f -exec stat -c '%n %i %s %y %z' {} + | sort
}

# copy_swarm: print the archive, encoded. It is no failure that a file is written meanwhile: tar says 1 then.
copy_swarm() {
    # shellcheck disable=SC2086 # one word or none
    { code=$({ { tar $sparse -czf - raft certificates 2>/dev/null 3>&- 4>&-; echo "$?" >&3; } | base64 >&4 3>&-; } 3>&1); } 4>&1
    [ "$code" -le 1 ]
}
