"""Obstacles found before anything is touched. Every check sees facts only, so it cannot change a thing."""

# Importing them registers their checks.
from provision.checks.preflight import disk, docker, firewall, host, network, store, ways
from provision.checks.preflight.scene import CHECKS, Scene, check, choose, run, version_of

__all__ = [
    "CHECKS",
    "Scene",
    "check",
    "choose",
    "disk",
    "docker",
    "firewall",
    "host",
    "network",
    "run",
    "store",
    "version_of",
    "ways",
]
