"""What lies between hosts: subnets, the underlay, open ports and tunnels."""
