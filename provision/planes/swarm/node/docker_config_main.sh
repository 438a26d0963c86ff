# Make dockerd's configuration, before each start and each reload. Written by overlay-provision.
#
# docker-config FILE   FILE: the user's configuration
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Nothing else of the environment that systemd or a unit gives changes what this program does.
for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
    case $name in OVERLAY_* | LC_ALL | PATH | SHELLOPTS | BASHOPTS) ;; *) unset "$name" ;; esac
done
hardening=${OVERLAY_HARDENING:-/etc/docker/overlay/hardening} # the variables are for tests
run=${OVERLAY_RUN:-/run/overlay-provision}
config=$run/daemon.json
OVERLAY_CONFIG=$1
configure true # no keys but our defaults
