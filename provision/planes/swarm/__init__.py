"""All that knows swarm mode, the control plane of Docker 23 and later."""
