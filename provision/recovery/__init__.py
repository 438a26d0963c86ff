"""Recovery of a cluster that has lost its quorum: what is decided, its record, and who was away meanwhile."""
