"""Obstacles found before anything is touched, in every control plane."""

from provision.checks.preflight import connectivity, disk, docker, firewall, host, network
from provision.core.check import collect

CHECKS = collect(host, disk, docker, network, connectivity, firewall)
