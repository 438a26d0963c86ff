"""Docker on a node, for every control plane: its API and its configuration."""
