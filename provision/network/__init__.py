"""The network between hosts: subnets, the underlay, open ports and tunnels."""
