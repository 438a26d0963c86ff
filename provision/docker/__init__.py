"""Docker on a node, in every control plane: its API and its configuration."""
