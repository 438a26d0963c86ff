"""Phases that every control plane has: the firewall, images, networks and their keepers."""
