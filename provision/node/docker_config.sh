# Make dockerd's configuration from the user's and our defaults: a part of programs that stay on a node. POSIX sh.
# The rest of a program sets OVERLAY_CONFIG (the path of the user's configuration), $hardening (the file of our defaults),
# and $config (the path of the configuration that dockerd reads, in the folder $run).

# configure [FUNCTION]: write dockerd's configuration, readable by root alone: the user's, our defaults, and the keys that
# the function prints, each followed by a comma. The file is replaced atomically.
configure() {
    users=$(cat "$OVERLAY_CONFIG" 2>/dev/null) || users=
    rest=${users#*\{}
    ours=$(defaults && "${1:-true}")
    case $(printf %s "$rest" | tr -d '[:space:]') in '' | '}') ours=${ours%,} ;; esac
    (umask 077 && mkdir -p "$run" && printf '{%s\n%s\n' "$ours" "${rest:-\}}" >"$config.new" && mv -f "$config.new" "$config")
}

# defaults: print those of our defaults that the user's configuration does not decide; see hardening.py.
defaults() {
    [ ! -r "$hardening" ] || while read -r decided_by setting; do
        # shellcheck disable=SC2254 # a pattern
        case $users in *\"$decided_by*) ;; *) printf '%s,\n' "$setting" ;; esac
    done <"$hardening"
}

