"""Containers that should run on a node, and do not: Docker says why it could not start them."""

from __future__ import annotations

#: A script that prints the names of containers with a restart policy which could not be started, a line each.
COULD_NOT_START = r"""
timeout 10 docker ps -aq --filter status=exited --filter status=created | xargs -r docker inspect --format \
    '{{if .State.Error}}{{if ne .HostConfig.RestartPolicy.Name "no"}}{{slice .Name 1}}{{end}}{{end}}' | grep .
true
"""
