"""Phases of this plane only: the release, certificates, etcd, dockerd on the store, and the quorum."""
