"""The control plane of Docker 20.10: its cluster store, kept in etcd."""
