"""A container network across a handful of hosts, from an inventory and SSH alone."""
