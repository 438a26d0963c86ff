"""Preflight checks of every control plane: they find obstacles before anything is changed."""

from provision.checks.preflight import connectivity, disk, docker, firewall, host, images, network, paths, upgrade
from provision.core.check import collect

CHECKS = collect(host, disk, paths, docker, images, network, connectivity, firewall, upgrade)
