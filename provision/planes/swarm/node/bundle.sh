# Diagnostics of the swarm for a bundle. POSIX sh; provision/node/bundle.sh comes before it.

bundle_plane() {
    bundle_unit mend overlay-mend.service
    part_file docker/peers /etc/docker/overlay/peers
    part_if docker swarm/info docker info
    part_if docker swarm/nodes docker node ls
}
